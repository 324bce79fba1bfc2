import { afterAll, expect, test } from 'vitest'
import { connect } from '../../src/testing/index.ts'
import server, { sdk } from './traced-server.ts'

afterAll(() => sdk.shutdown())
const DEFINITION = new URL('./traced-server.ts', import.meta.url)

test.each(['thread', 'process'])(
  'what a handler does in a %s lies within the span of its attempt, each attempt in its own',
  async (kind) => {
    await using client = await connect(server, { runtime: { worker: { definition: DEFINITION, pollMs: 200 } } })
    for (let attempt = 0; attempt < 2; attempt++) {
      sdk.spans()
      const seen = JSON.parse((await client.callTool(kind)).text) as Record<string, unknown>
      expect(seen.isMainThread === true && seen.pid === process.pid).toBe(false)
      const { spanId, traceId } = (await sdk.span(`process ${kind}`)).spanContext()
      expect(seen).toMatchObject({ before: spanId, inStep: spanId, spanId, traceId })
    }
  },
  40_000,
)
