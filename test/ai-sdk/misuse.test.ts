import { MockEmbeddingModelV4, MockLanguageModelV4 } from 'ai/test'
import { wrapEmbeddingModel, wrapLanguageModel } from 'ai'
import { describe, expect, it } from 'vitest'
import { embeddingModelMiddleware, languageModelMiddleware } from '../../src/ai-sdk/index.ts'
import { answer, called, clientOf, metricsOf, usageOf } from './support.ts'

const HOUR_MS = 3_600_000
const params = { prompt: [{ role: 'user' as const, content: [{ type: 'text' as const, text: 'a'.repeat(40) }] }] }
const prices = { currency: 'EUR', perMillionTokens: { small: { input: 1, output: 1 } } }

describe('a provider that miscounts', () => {
  it.each([NaN, -1_000_000, Infinity, '7' as never])('by %s: tokens are estimated by length', async (count) => {
    const model = wrapLanguageModel({
      model: new MockLanguageModelV4({
        modelId: 'small',
        doGenerate: async () => answer('b'.repeat(40), { usage: usageOf(count, count) }),
      }),
      middleware: languageModelMiddleware({ prices }),
    })
    const limits = [{ per: 'principal', limit: 1_600, windowMs: HOUR_MS, unit: 'llm-tokens' }] as const
    const client = await clientOf(async () => (await model.doGenerate(params)).content, { limits })
    await called(client)
    expect(await metricsOf(client, 'holdfast_llm_tokens')).toEqual([
      'holdfast_llm_tokens_total{model="small",kind="input",source="model"} 10',
      'holdfast_llm_tokens_total{model="small",kind="output",source="model"} 10',
    ])
    expect(await metricsOf(client, 'holdfast_llm_cost')).toEqual([
      'holdfast_llm_cost_total{model="small",currency="EUR",source="model"} 0.00002',
    ])
    // Each takes an estimate of 1,010 tokens, and settles for 20.
    const calls = Array.from({ length: 50 }, (_, call) => call)
    await expect(calls.reduce((last) => last.then(() => called(client)), Promise.resolve<unknown>(0))).rejects.toThrow(
      'is used up',
    )
    const [inputs] = await metricsOf(client, 'holdfast_llm_tokens')
    expect(Number(inputs!.split(' ').at(-1))).toSatisfy((tokens: number) => tokens >= 290 && tokens <= 340)
  })

  it('of embeddings, too', async () => {
    const embedder = wrapEmbeddingModel({
      model: new MockEmbeddingModelV4({
        modelId: 'small',
        doEmbed: async ({ values }) => ({ embeddings: values.map(() => [1]), usage: { tokens: NaN }, warnings: [] }),
      }),
      middleware: embeddingModelMiddleware({ prices, cache: { ttlMs: HOUR_MS } }),
    })
    const client = await clientOf(async () => (await embedder.doEmbed({ values: ['a'.repeat(40)] })).embeddings)
    await called(client)
    await called(client)
    expect(await metricsOf(client, 'holdfast_llm_tokens')).toEqual([
      'holdfast_llm_tokens_total{model="small",kind="input",source="cached"} 10',
      'holdfast_llm_tokens_total{model="small",kind="input",source="model"} 10',
    ])
  })
})

describe('a table of prices', () => {
  it.each([
    [{ currency: 'EUR' }, '`prices.perMillionTokens` is undefined'],
    [{ currency: 'EUR', perMillionTokens: { small: null } }, '`prices.perMillionTokens["small"]` is null'],
    [{ currency: 'EUR', perMillionTokens: { small: 3 } }, '`prices.perMillionTokens["small"]` is 3'],
    [{ currency: 'EUR', perMillionTokens: { small: { input: NaN } } }, '.input` is NaN'],
    [null, '`prices` is null'],
  ])('that is none is refused: %j', (table, message) => {
    expect(() => languageModelMiddleware({ prices: table as never })).toThrow(message)
  })
  it('says nothing of models whose names are those of every object', async () => {
    const model = wrapLanguageModel({
      model: new MockLanguageModelV4({ modelId: 'constructor', doGenerate: async () => answer('b') }),
      middleware: languageModelMiddleware({ prices }),
    })
    const client = await clientOf(async () => (await model.doGenerate(params)).content)
    await called(client)
    expect(await metricsOf(client, 'holdfast_llm_cost')).toEqual([])
  })
})
