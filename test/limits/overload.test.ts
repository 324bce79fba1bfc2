import { afterEach, expect, test } from 'vitest'
import { runOpenLoop, type CallerFigures, type OpenCaller } from '../../bench/lib/load/open-loop.ts'
import { createRuntime, defineServer, defineTool, type Runtime } from '../../src/index.ts'

/**
 * The overload section of the benchmark (`bench/sections/overload.ts`) in small: short, in one process with its load, and
 * with bounds that a busy machine keeps. The figures that count are the benchmark's.
 */
const PLACES = 10
const SERVICE_MS = 100
const CAPACITY = (PLACES * 1000) / SERVICE_MS

let runtime: Runtime
afterEach(() => runtime.close())

const server = defineServer({
  name: 'overloaded',
  version: '1.0.0',
  tools: [
    defineTool({
      name: 'query',
      description: 'Takes its time',
      concurrency: PLACES,
      run: async () => {
        await new Promise((resolve) => setTimeout(resolve, SERVICE_MS))
        return 'done'
      },
    }),
  ],
})

async function load(callers: OpenCaller[], durationMs: number): Promise<CallerFigures[]> {
  runtime = await createRuntime(server, { dataDir: false, logLevel: 'silent' })
  const { port } = await runtime.listen({ port: 0 })
  const result = await runOpenLoop({
    port,
    path: '/mcp',
    wire: { revision: '2026-07-28', mode: 'envelope' },
    tool: 'query',
    callers,
    durationMs,
    patienceMs: 5000,
    maxConnections: 2000,
  })
  return result.callers
}

test('at five times its capacity a server does what it can, in time, and refuses the rest', async () => {
  const polite = CAPACITY / 10
  const [greedy, other] = (await load(
    [
      { name: 'greedy', from: '127.0.0.1', perSecond: 5 * CAPACITY - polite },
      { name: 'polite', from: '127.0.0.2', perSecond: polite },
    ],
    4000,
  )) as [CallerFigures, CallerFigures]
  expect([greedy.failed, greedy.gaveUp, other.failed, other.gaveUp, greedy.firstFailure]).toEqual([
    0,
    0,
    0,
    0,
    undefined,
  ])
  expect(greedy.goodPerSecond + other.goodPerSecond).toBeGreaterThan(0.5 * CAPACITY)
  expect(greedy.shed).toBeGreaterThan(greedy.good)
  expect(greedy.p99Ms).toBeLessThan(15 * SERVICE_MS)
  // The greedy caller asks for almost fifty times as much, and costs the polite one next to nothing.
  expect(other.good / other.offered).toBeGreaterThan(0.7)
  const { body } = await runtime.metrics()
  expect(body).toMatch(/^holdfast_queued_requests 0$/m)
  expect(body).toMatch(/^holdfast_running_requests 0$/m)
  expect(Number(/^holdfast_sheds_total\{reason="queue_full"\} (\d+)$/m.exec(body)?.[1])).toBeGreaterThan(0)
})
