import { invalid, quote } from '../define/names.ts'
import { isObject } from '../kernel/protocol.ts'
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

const WANTED = 'Write it like { currency: "USD", perMillionTokens: { "a-model": { input: 0.25, output: 2 } } }.'
const PRICES = ['input', 'output', 'cachedInput', 'cacheWrite'] as const

/** @throws {HoldfastError} `invalid_definition` for a price that is none. */
export function checkPrices(where: string, prices: PriceTable): void {
  if (!isObject(prices)) invalid(where, `\`prices\` is ${quote(prices)}.`, WANTED)
  if (typeof prices.currency !== 'string' || prices.currency === '')
    invalid(where, `\`prices.currency\` is ${quote(prices.currency)}.`, 'Name it, such as "USD".')
  if (!isObject(prices.perMillionTokens))
    invalid(where, `\`prices.perMillionTokens\` is ${quote(prices.perMillionTokens)}.`, WANTED)
  for (const [model, price] of Object.entries(prices.perMillionTokens)) {
    const of = `\`prices.perMillionTokens[${quote(model)}]`
    if (!isObject(price)) invalid(where, `${of}\` is ${quote(price)}.`, WANTED)
    for (const field of PRICES) {
      const value = price[field]
      if (value === undefined && field !== 'input') continue
      if (typeof value !== 'number' || !(value >= 0) || value === Infinity)
        invalid(where, `${of}.${field}\` is ${quote(value)}.`, 'Write a number of 0 or more.')
    }
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
