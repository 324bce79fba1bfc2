import type { LanguageModelV4CallOptions, LanguageModelV4Usage } from '@ai-sdk/provider'
import { describe, expect, it } from 'vitest'
import { checkPrices, costOf, type PriceTable } from '../../src/ai-sdk/prices.ts'
import { estimateCall, tokensOf } from '../../src/ai-sdk/usage.ts'

const params: LanguageModelV4CallOptions = {
  prompt: [
    { role: 'system', content: 'x'.repeat(40) },
    { role: 'user', content: [{ type: 'text', text: 'y'.repeat(41) }] },
  ],
}
const usage = (inputTokens: object, outputTokens: object): LanguageModelV4Usage => ({
  inputTokens: { total: undefined, noCache: undefined, cacheRead: undefined, cacheWrite: undefined, ...inputTokens },
  outputTokens: { total: undefined, text: undefined, reasoning: undefined, ...outputTokens },
})

describe('the tokens of a call', () => {
  it('are what the provider says', () => {
    expect(tokensOf(usage({ total: 100, cacheRead: 60 }, { total: 20 }), params, [])).toEqual({
      input: 100,
      output: 20,
      cacheRead: 60,
      cacheWrite: 0,
    })
    expect(tokensOf(usage({ noCache: 7, cacheWrite: 3 }, { text: 4, reasoning: 5 }), params, [])).toMatchObject({
      input: 10,
      output: 9,
    })
  })

  it('are estimated by length where the provider says nothing', () => {
    const output = [
      { type: 'text-delta' as const, id: '1', delta: 'a'.repeat(30) },
      { type: 'text-delta' as const, id: '1', delta: 'b'.repeat(10) },
    ]
    expect(tokensOf(undefined, params, output)).toMatchObject({ input: 21, output: 10 })
    expect(tokensOf(usage({}, { total: 3 }), params, output)).toMatchObject({ input: 21, output: 3 })
  })

  it('are estimated before the call with the output that it may have', () => {
    expect(estimateCall({ ...params, maxOutputTokens: 500 })).toBe(521)
    expect(estimateCall(params)).toBe(1_021)
    const image = { type: 'file' as const, mediaType: 'image/png', data: { type: 'data' as const, data: 'AAAA' } }
    expect(estimateCall({ prompt: [{ role: 'user', content: [image] }], maxOutputTokens: 1 })).toBe(1_001)
  })
})

describe('the cost of a call', () => {
  const prices: PriceTable = {
    currency: 'EUR',
    perMillionTokens: {
      chat: { input: 2, output: 10, cachedInput: 0.5, cacheWrite: 3 },
      embedder: { input: 0.1 },
    },
  }
  const tokens = { input: 1_000, output: 100, cacheRead: 600, cacheWrite: 100 }

  it('is what your table says of each kind of token', () => {
    expect(costOf(prices, 'chat', tokens)).toBeCloseTo((300 * 2 + 600 * 0.5 + 100 * 3 + 100 * 10) / 1e6, 12)
    expect(costOf(prices, 'embedder', tokens)).toBeCloseTo((1_000 * 0.1) / 1e6, 12)
  })

  it('is unknown of a model that the table does not have', () => {
    expect(costOf(prices, 'other', tokens)).toBe(undefined)
    expect(costOf(prices, 'constructor', tokens)).toBe(undefined)
    expect(costOf(undefined, 'chat', tokens)).toBe(undefined)
  })

  it.each([
    [{ currency: '', perMillionTokens: {} }, '`prices.currency` is ""'],
    [{ currency: 'USD', perMillionTokens: { m: {} as never } }, '`prices.perMillionTokens["m"].input` is undefined'],
    [{ currency: 'USD', perMillionTokens: { m: { input: -1 } } }, 'Write a number of 0 or more'],
    [{ currency: 'USD', perMillionTokens: { m: { input: 1, output: NaN } } }, '`prices.perMillionTokens["m"].output`'],
  ])('can not be told from %j', (table, message) => {
    expect(() => checkPrices('here', table)).toThrow(message)
  })
})
