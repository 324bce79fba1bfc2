import { wrapEmbeddingModel } from 'ai'
import { MockEmbeddingModelV4 } from 'ai/test'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { embeddingModelMiddleware } from '../../src/ai-sdk/index.ts'
import { called, clientOf } from './support.ts'

const vectorOf = (text: string): number[] => [text.codePointAt(0)!, text.length]
const texts = fc.array(fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f'), { maxLength: 6 })

test('whatever batches are embedded at once, each gets its vectors, and a text is asked for no more often than it failed', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(texts, { minLength: 1, maxLength: 8 }),
      fc.array(fc.record({ ms: fc.nat(3), fails: fc.boolean() }), { maxLength: 8 }),
      async (batches, calls) => {
        const failedOf = new Map<string, number>()
        const askedOf = new Map<string, number>()
        const more = (counts: Map<string, number>, text: string): void =>
          void counts.set(text, (counts.get(text) ?? 0) + 1)
        let call = 0
        const model = wrapEmbeddingModel({
          model: new MockEmbeddingModelV4({
            doEmbed: async ({ values }) => {
              const { ms = 0, fails = false } = calls[call++] ?? {}
              for (const text of values) more(askedOf, text)
              if (ms > 0) await new Promise((resolve) => setTimeout(resolve, ms))
              if (fails) {
                for (const text of values) more(failedOf, text)
                throw new Error('model is down')
              }
              return { embeddings: values.map(vectorOf), warnings: [] }
            },
          }),
          middleware: embeddingModelMiddleware({ cache: { ttlMs: 60_000 } }),
        })
        const client = await clientOf(async (_ctx, args) => {
          const { values } = args as unknown as { values: string[] }
          try {
            return (await model.doEmbed({ values })).embeddings
          } catch {
            return 'failed'
          }
        })
        const results = await Promise.all(batches.map((values) => called(client, { values })))
        for (const [index, result] of results.entries())
          if (result !== 'failed') expect(result).toEqual(batches[index]!.map(vectorOf))
        for (const [text, asked] of askedOf) expect(asked).toBeLessThanOrEqual((failedOf.get(text) ?? 0) + 1)
        await client.close()
      },
    ),
    { numRuns: 40 },
  )
})
