import type { EmbeddingModelV4CallOptions, EmbeddingModelV4Result } from '@ai-sdk/provider'
import { embed, embedMany, wrapEmbeddingModel } from 'ai'
import { MockEmbeddingModelV4 } from 'ai/test'
import { describe, expect, it } from 'vitest'
import { embeddingModelMiddleware, type EmbeddingModelOptions } from '../../src/ai-sdk/index.ts'
import { MemoryEventBus } from '../../src/backends/memory/event-bus.ts'
import { MemoryStateStore } from '../../src/backends/memory/state-store.ts'
import { defineDependency } from '../../src/index.ts'
import { systemClock } from '../../src/ports/clock.ts'
import { apiError, called, clientOf, metricsOf } from './support.ts'

const HOUR_MS = 3_600_000
type Reply = (
  options: EmbeddingModelV4CallOptions,
  call: number,
) => EmbeddingModelV4Result | Promise<EmbeddingModelV4Result>

/** The vector of a text: its length and its first character. */
const vectorOf = (text: string, dimensions = 3): number[] => [
  text.length + 0.1,
  text.codePointAt(0)! / 3,
  ...Array.from({ length: dimensions - 2 }, () => 0.7),
]
const embeddings = ({ values, dimensions }: EmbeddingModelV4CallOptions): EmbeddingModelV4Result => ({
  embeddings: values.map((value) => vectorOf(value, dimensions)),
  usage: { tokens: values.join('').length },
  warnings: [],
})

function modelOf(reply: Reply = embeddings, options: EmbeddingModelOptions = { cache: { ttlMs: HOUR_MS } }, max = 50) {
  const asked: string[][] = []
  const mock: MockEmbeddingModelV4 = new MockEmbeddingModelV4({
    modelId: 'embedder',
    maxEmbeddingsPerCall: max,
    doEmbed: async (given) => {
      asked.push([...given.values])
      return reply(given, asked.length)
    },
  })
  return { asked, model: wrapEmbeddingModel({ model: mock, middleware: embeddingModelMiddleware(options) }) }
}

const batchOf = (model: ReturnType<typeof modelOf>['model']) => {
  return async (_ctx: unknown, { texts, dimensions }: { texts?: string[]; dimensions?: number }): Promise<unknown> => {
    const given = { values: texts ?? [], ...(dimensions !== undefined && { dimensions }) }
    const { embeddings: vectors, usage } = await model.doEmbed(given)
    return { vectors, tokens: usage?.tokens }
  }
}
const rounded = (texts: string[], dimensions?: number): number[][] =>
  texts.map((text) => vectorOf(text, dimensions).map(Math.fround))

describe('embeddings', () => {
  it('are computed for what is missing of a batch, in its order, each text once', async () => {
    const { asked, model } = modelOf()
    const client = await clientOf(batchOf(model) as never)
    expect(await called(client, { texts: ['one', 'two', 'one'] })).toEqual({
      vectors: rounded(['one', 'two', 'one']),
      tokens: 6,
    })
    expect(await called(client, { texts: ['three', 'two', 'four', 'one'] })).toEqual({
      vectors: rounded(['three', 'two', 'four', 'one']),
      tokens: 9,
    })
    expect(await called(client, { texts: ['four', 'one'] })).toEqual({ vectors: rounded(['four', 'one']), tokens: 0 })
    expect(asked).toEqual([
      ['one', 'two'],
      ['three', 'four'],
    ])
  })

  it('are found by another node', async () => {
    const runtime = { state: new MemoryStateStore(systemClock), bus: new MemoryEventBus() }
    const { asked, model } = modelOf()
    const one = await clientOf(batchOf(model) as never, { runtime })
    const two = await clientOf(batchOf(model) as never, { runtime })
    await called(one, { texts: ['a', 'b'] })
    expect(await called(two, { texts: ['b', 'c'] })).toMatchObject({ vectors: rounded(['b', 'c']) })
    expect(asked).toEqual([['a', 'b'], ['c']])
  })

  it('are others for another number of dimensions, other options and another model', async () => {
    const { asked, model } = modelOf()
    const client = await clientOf(async (_ctx, { options }) => {
      const { embeddings: vectors } = await model.doEmbed({ values: ['a'], ...(options as object) })
      return vectors
    })
    expect(await called(client, { options: {} })).toEqual(rounded(['a']))
    expect(await called(client, { options: { dimensions: 5 } })).toEqual(rounded(['a'], 5))
    expect(await called(client, { options: { providerOptions: { one: { type: 'query' } } } })).toEqual(rounded(['a']))
    expect(await called(client, { options: { dimensions: 5 } })).toEqual(rounded(['a'], 5))
    expect(asked.length).toBe(3)
  })

  it('that have not the length that was asked for are computed anew, when the model gives it', async () => {
    const { asked, model } = modelOf(({ values, dimensions }, call) =>
      embeddings({ values, dimensions: call === 1 ? 2 : dimensions! }),
    )
    const client = await clientOf(batchOf(model) as never)
    const args = { texts: ['a'], dimensions: 4 }
    for (const dimensions of [2, 4, 4])
      expect(await called(client, args)).toMatchObject({ vectors: rounded(['a'], dimensions) })
    expect(asked.length).toBe(2)
  })

  it('that another call computes are waited for', async () => {
    const gate = Promise.withResolvers<void>()
    const { asked, model } = modelOf(async (options, call) => {
      if (call === 1) await gate.promise
      return embeddings(options)
    })
    const client = await clientOf(batchOf(model) as never)
    const first = called(client, { texts: ['a', 'b'] })
    await expect.poll(() => asked.length).toBe(1)
    const second = called(client, { texts: ['b', 'c'] })
    await expect.poll(() => asked.length).toBe(2)
    gate.resolve()
    expect(await first).toMatchObject({ vectors: rounded(['a', 'b']) })
    expect(await second).toMatchObject({ vectors: rounded(['b', 'c']) })
    expect(asked).toEqual([['a', 'b'], ['c']])
    expect(
      (await metricsOf(client, 'holdfast_llm_calls')).map((line) => /outcome="(\w+)"} (\d)/.exec(line)!.slice(1)),
    ).toEqual([
      ['called', '2'],
      ['waited', '1'],
    ])
  })

  it('that another call has failed to compute are computed by who waited', async () => {
    const gate = Promise.withResolvers<void>()
    const { asked, model } = modelOf(async (options, call) => {
      if (call > 1) return embeddings(options)
      await gate.promise
      throw new Error('model is down')
    })
    const client = await clientOf(batchOf(model) as never)
    const first = called(client, { texts: ['a', 'b'] })
    await expect.poll(() => asked.length).toBe(1)
    const second = called(client, { texts: ['b'] })
    await new Promise((resolve) => setImmediate(resolve))
    gate.resolve()
    await expect(first).rejects.toThrow()
    expect(await second).toMatchObject({ vectors: rounded(['b']) })
    expect(asked).toEqual([['a', 'b'], ['b']])
  })

  it('of another length than before are another model: those of the old one are computed anew', async () => {
    let dimensions = 3
    const { asked, model } = modelOf(({ values }) => ({
      embeddings: values.map((value) => vectorOf(value, dimensions)),
      warnings: [],
    }))
    const client = await clientOf(batchOf(model) as never)
    await called(client, { texts: ['a', 'b'] })
    dimensions = 4
    expect(await called(client, { texts: ['a', 'c'] })).toMatchObject({ vectors: rounded(['a', 'c'], 4) })
    expect(await called(client, { texts: ['b', 'c'] })).toMatchObject({ vectors: rounded(['b', 'c'], 4) })
    expect(await called(client, { texts: ['a', 'b', 'c'] })).toMatchObject({ vectors: rounded(['a', 'b', 'c'], 4) })
    expect(asked).toEqual([['a', 'b'], ['c'], ['a'], ['b', 'c']])
  })

  it('that are too few fail the call, and none of them is kept', async () => {
    const { asked, model } = modelOf((options, call) =>
      call === 1 ? { ...embeddings(options), embeddings: [[1, 2, 3]] } : embeddings(options),
    )
    const failures: unknown[] = []
    const client = await clientOf(async (ctx, args) => {
      try {
        return await batchOf(model)(ctx, args)
      } catch (error) {
        return failures.push((error as Error).message)
      }
    })
    await called(client, { texts: ['a', 'b'] })
    expect(failures).toEqual(['Expected 2 embeddings, but the model gave 1.'])
    expect(await called(client, { texts: ['a', 'b'] })).toMatchObject({ vectors: rounded(['a', 'b']) })
    expect(asked.length).toBe(2)
  })

  it('of a big batch are asked for in calls of the size that the model takes', async () => {
    const { asked, model } = modelOf(embeddings, { cache: { ttlMs: HOUR_MS } }, 2)
    const client = await clientOf(async (_ctx, { texts }) => {
      return (await embedMany({ model, values: texts as string[], maxRetries: 0 })).embeddings
    })
    await called(client, { texts: ['a', 'b', 'c'] })
    expect(await called(client, { texts: ['a', 'x', 'b', 'c', 'd'] })).toEqual(rounded(['a', 'x', 'b', 'c', 'd']))
    expect(asked).toEqual([['a', 'b'], ['c'], ['x'], ['d']])
  })

  it('are guarded, limited and counted', async () => {
    const { asked, model } = modelOf(
      (options, call) => {
        if (call === 1) throw apiError(500)
        return embeddings(options)
      },
      {
        cache: { ttlMs: HOUR_MS },
        dependency: defineDependency({ name: 'embedder', retry: { baseMs: 1 } }),
        prices: { currency: 'USD', perMillionTokens: { embedder: { input: 1_000 } } },
      },
    )
    const client = await clientOf(async (_ctx, { text }) => (await embed({ model, value: text as string })).embedding, {
      limits: [{ per: 'principal', limit: 100, windowMs: HOUR_MS, unit: 'llm-tokens' }],
    })
    const text = 'x'.repeat(80)
    expect(await called(client, { text })).toEqual(rounded([text])[0])
    expect(await called(client, { text })).toEqual(rounded([text])[0])
    expect(asked.length).toBe(2)
    // By length 20 tokens were expected; the provider says 80, so that no more than 20 are left.
    await expect(called(client, { text: 'y'.repeat(120) })).rejects.toThrow('is used up')
    expect((await metricsOf(client)).filter((line) => !line.includes('saved'))).toEqual([
      'holdfast_llm_calls_total{model="embedder",operation="embed",outcome="cached"} 1',
      'holdfast_llm_calls_total{model="embedder",operation="embed",outcome="called"} 1',
      'holdfast_llm_cost_total{model="embedder",currency="USD",source="cached"} 0.08',
      'holdfast_llm_cost_total{model="embedder",currency="USD",source="model"} 0.08',
      'holdfast_llm_tokens_total{model="embedder",kind="input",source="cached"} 80',
      'holdfast_llm_tokens_total{model="embedder",kind="input",source="model"} 80',
    ])
  })

  it('without a cache are what the model gives', async () => {
    const { asked, model } = modelOf(embeddings, {})
    const client = await clientOf(batchOf(model) as never)
    expect(await called(client, { texts: ['a'] })).toMatchObject({ vectors: [vectorOf('a')] })
    await called(client, { texts: ['a'] })
    expect(asked).toEqual([['a'], ['a']])
  })

  it('are refused options that they have not', () => {
    expect(() => embeddingModelMiddleware({ cache: { ttlMs: 5, staleMs: 5 } as never })).toThrow('staleMs')
  })
})
