import { randomBytes } from 'node:crypto'
import { embedMany, streamText, wrapEmbeddingModel, wrapLanguageModel } from 'ai'
import { MockEmbeddingModelV4, MockLanguageModelV4 } from 'ai/test'
import { expect, test } from 'vitest'
import { embeddingModelMiddleware, languageModelMiddleware } from '../../src/ai-sdk/index.ts'
import { sharedServer } from '../servers/shared.ts'
import { called, clientOf, finish, metricsOf, streamOf, textParts, usageOf } from './support.ts'

const HOUR_MS = 3_600_000
const { url: state } = await sharedServer('redis')
const runtime = { state, keys: `one:${randomBytes(32).toString('base64')}` }

test('nodes that share a Redis share streams, one at a time, and what they cost', async () => {
  const mock = new MockLanguageModelV4({
    modelId: `model-${process.pid}`,
    doStream: async () => {
      await new Promise((resolve) => setTimeout(resolve, 100))
      return streamOf([...textParts('Two', '.'), finish('stop', usageOf(100, 20))])
    },
  })
  const model = wrapLanguageModel({
    model: mock,
    middleware: languageModelMiddleware({ cache: { ttlMs: HOUR_MS } }),
  })
  const run = async (): Promise<string> => streamText({ model, prompt: `of ${process.pid}`, temperature: 0 }).text
  const nodes = await Promise.all([1, 2, 3].map(() => clientOf(run, { runtime })))
  const texts = await Promise.all(Array.from({ length: 12 }, (_, index) => called(nodes[index % 3]!)))
  expect(new Set(texts)).toEqual(new Set(['Two.']))
  expect(mock.doStreamCalls.length).toBe(1)
  const later = await clientOf(run, { runtime })
  expect(await called(later)).toBe('Two.')
  expect(await metricsOf(later, 'holdfast_llm_tokens')).toEqual([
    expect.stringContaining('kind="input",source="cached"} 100'),
    expect.stringContaining('kind="output",source="cached"} 20'),
  ])
  expect(mock.doStreamCalls.length).toBe(1)
})

test('nodes that share a Redis share embeddings, to the bit', async () => {
  const asked: string[] = []
  const model = wrapEmbeddingModel({
    model: new MockEmbeddingModelV4({
      modelId: `embedder-${process.pid}`,
      maxEmbeddingsPerCall: 100,
      doEmbed: async ({ values }) => {
        asked.push(...values)
        return { embeddings: values.map((value) => [Math.PI * value.length, -1 / 3, 1e-20]), warnings: [] }
      },
    }),
    middleware: embeddingModelMiddleware({ cache: { ttlMs: HOUR_MS, scope: 'public' } }),
  })
  const node = (): ReturnType<typeof clientOf> =>
    clientOf(async (_ctx, { texts }) => (await embedMany({ model, values: texts as string[] })).embeddings, {
      runtime,
    })
  const [one, two] = [await node(), await node()]
  const first = (await called(one, { texts: ['a', 'bb'] })) as number[][]
  const second = (await called(two, { texts: ['bb', 'ccc', 'a'] })) as number[][]
  expect(asked).toEqual(['a', 'bb', 'ccc'])
  expect([second[2], second[0]]).toEqual(first)
  expect(first[0]).toEqual([Math.PI, -1 / 3, 1e-20].map(Math.fround))
})
