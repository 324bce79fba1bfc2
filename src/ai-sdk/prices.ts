import { invalid, quote } from '../define/names.ts'
import type { TokenCount } from './usage.ts'

/** What a model costs, for each million tokens, in the table's currency. */
export interface ModelPrice {
  readonly input: number
  /** Embedding models have none. Default 0. */
  readonly output?: number
  /** Of input that the provider has cached. Default: as other input. */
  readonly cachedInput?: number
  /** Of input that the provider writes to its cache. Default: as other input. */
  readonly cacheWrite?: number
}

/** What models cost: yours to keep, since prices change and contracts differ. */
export interface PriceTable {
  /** Label of the metrics, such as `USD`. */
  readonly currency: string
  /** By model id, as the provider's model says it (`model.modelId`). Of a model that is missing no cost is counted. */
  readonly perMillionTokens: Readonly<Record<string, ModelPrice>>
}

const PRICES = ['input', 'output', 'cachedInput', 'cacheWrite'] as const

/** @throws {HoldfastError} `invalid_definition` for a price that is none. */
export function checkPrices(where: string, prices: PriceTable): void {
  if (typeof prices.currency !== 'string' || prices.currency === '')
    invalid(where, `\`prices.currency\` is ${quote(prices.currency)}.`, 'Name it, such as "USD".')
  for (const [model, price] of Object.entries(prices.perMillionTokens))
    for (const field of PRICES) {
      const value: unknown = price[field]
      if (value === undefined && field !== 'input') continue
      if (typeof value !== 'number' || !(value >= 0) || value === Infinity)
        invalid(
          where,
          `\`prices.perMillionTokens[${quote(model)}].${field}\` is ${quote(value)}.`,
          'Write a number of 0 or more.',
        )
    }
}

/** What so many tokens cost; `undefined` where the table does not say. */
export function costOf(prices: PriceTable | undefined, modelId: string, tokens: TokenCount): number | undefined {
  const table = prices?.perMillionTokens
  if (table === undefined || !Object.hasOwn(table, modelId)) return undefined
  const { input, output = 0, cachedInput = input, cacheWrite = input } = table[modelId]!
  const plain = Math.max(0, tokens.input - tokens.cacheRead - tokens.cacheWrite)
  const sum = plain * input + tokens.cacheRead * cachedInput + tokens.cacheWrite * cacheWrite + tokens.output * output
  return sum / 1_000_000
}
