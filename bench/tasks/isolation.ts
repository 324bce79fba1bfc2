// What isolation costs: `node bench/tasks/isolation.ts`. An attempt with one step, one after the other, on SQLite in memory.
import { connect } from 'holdfast/testing'
import server from './isolated-server.ts'

const ATTEMPTS = 300
const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1]!
const p99 = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[Math.floor(values.length * 0.99)]!

const rssMb = (): number => process.memoryUsage().rss / 1e6
for (const name of ['worker', 'thread', 'process']) {
  const tools = server.tools.filter((tool) => tool.name === name)
  const definition = new URL('./isolated-server.ts', import.meta.url)
  await using client = await connect({ ...server, tools }, { runtime: { worker: { definition, concurrency: 8 } } })
  const call = async (): Promise<{ ms: number; rssMb: number; cpuMs: number }> => {
    const startedMs = performance.now()
    const { text } = await client.callTool(name)
    return { ms: performance.now() - startedMs, ...(JSON.parse(text) as { rssMb: number; cpuMs: number }) }
  }
  await call() // one isolate is there already: it was started with the worker
  const before = rssMb()
  const cold = await Promise.all(Array.from({ length: 5 }, call))
  const grownMb = rssMb() - before
  for (let index = 0; index < 50; index++) await call()
  const warm: number[] = []
  for (let index = 0; index < ATTEMPTS; index++) warm.push((await call()).ms)
  const starts = cold.map(({ cpuMs }) => cpuMs)
  const memory =
    name === 'process'
      ? `${median(cold.map((one) => one.rssMb)).toFixed(0)} MB each`
      : `${(grownMb / 4).toFixed(0)} MB each`
  console.log(
    `${name.padEnd(8)} first, of 5 at once: ${Math.max(...cold.map(({ ms }) => ms)).toFixed(0)} ms   again: p50 ${median(warm).toFixed(2)} ms, p99 ${p99(warm).toFixed(2)} ms   memory ${memory}${name === 'worker' ? '' : `   CPU of a start ${median(starts).toFixed(0)} ms`}`,
  )
}
