// `node bench/task-queues.ts [broker…]`: how long a ring takes to its listener, and how many rings a second there can be, on real
// brokers of this machine. Each ring is confirmed by the broker before it counts; listener and ringer are one process.
import { openKafkaQueue } from '../src/backends/kafka/task-queue.ts'
import { MemoryTaskQueue } from '../src/backends/memory/task-queue.ts'
import { openRabbitmqQueue } from '../src/backends/rabbitmq/task-queue.ts'
import { openSqsQueue } from '../src/backends/sqs/task-queue.ts'
import type { TaskQueue } from '../src/ports/task-queue.ts'
import { startElasticmq } from '../test/servers/elasticmq.ts'
import { startKafka } from '../test/servers/kafka.ts'
import { startRabbitmq } from '../test/servers/rabbitmq.ts'

interface Opened extends AsyncDisposable {
  open(): Promise<TaskQueue>
}

process.env['AWS_ACCESS_KEY_ID'] ??= 'test'
process.env['AWS_SECRET_ACCESS_KEY'] ??= 'test'
const quiet = { onUp() {}, onDown() {}, onRefused() {} }
const nothing = async (): Promise<void> => undefined
const BROKERS: Record<string, () => Promise<Opened>> = {
  async memory() {
    const queue = new MemoryTaskQueue(() => undefined)
    return { open: async () => queue, [Symbol.asyncDispose]: nothing }
  },
  async rabbitmq() {
    const server = await startRabbitmq()
    return {
      open: () => openRabbitmqQueue(server.url, quiet),
      [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
    }
  },
  async kafka() {
    const server = await startKafka()
    return { open: () => openKafkaQueue(server.url, quiet), [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() }
  },
  async sqs() {
    const server = await startElasticmq()
    return { open: () => openSqsQueue(server.url, quiet), [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() }
  },
}

const PACED_RINGS = 500
const PACED_EVERY_MS = 20
const PEAK_MS = 5000
/** Rings under way at once, at the peak. */
const CALLERS = 50
const IDS = 10

const wanted = process.argv.slice(2)
for (const [name, start] of Object.entries(BROKERS))
  if (wanted.length === 0 || wanted.includes(name)) {
    await using broker = await start()
    const [ringer, hearer] = [await broker.open(), await broker.open()]
    await ringer.ensureTopology(['bench'])
    const latencies: number[] = []
    const confirms: number[] = []
    const listener = await hearer.listen(
      ['bench'],
      async ({ taskIds: [id] }) => {
        if (id!.startsWith('at ')) latencies.push(performance.now() - Number(id!.slice(3)))
      },
      { credits: 50 },
    )
    await ringer.ring('bench', ['warm'])
    // Open loop: a ring leaves when its time has come, whether or not the last one has been heard.
    const rung: Promise<void>[] = []
    const beginMs = performance.now() + 3000
    for (let index = 0; index < PACED_RINGS; index++) {
      const dueMs = beginMs + index * PACED_EVERY_MS
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, dueMs - performance.now())))
      const startedMs = performance.now()
      rung.push(ringer.ring('bench', [`at ${startedMs}`]).then(() => void confirms.push(performance.now() - startedMs)))
    }
    await Promise.all(rung)
    for (let turn = 0; latencies.length < PACED_RINGS && turn < 200; turn++)
      await new Promise((resolve) => setTimeout(resolve, 50))
    let rings = 0
    const endMs = performance.now() + PEAK_MS
    await Promise.all(
      Array.from({ length: CALLERS }, async () => {
        while (performance.now() < endMs) {
          await ringer.ring(
            'bench',
            Array.from({ length: IDS }, (_, index) => `task ${rings} ${index}`),
          )
          rings++
        }
      }),
    )
    const at = (values: number[], share: number): string =>
      values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))]!.toFixed(1)
    console.log(
      `${name.padEnd(9)} ring to listener p50 ${at(latencies, 0.5)} ms, p99 ${at(latencies, 0.99)} ms (${latencies.length} of ${PACED_RINGS} heard); confirmed p50 ${at(confirms, 0.5)} ms, p99 ${at(confirms, 0.99)} ms; ${Math.round((rings * 1000) / PEAK_MS)} rings/s of ${IDS} tasks, by ${CALLERS} callers`,
    )
    await listener.close()
    await ringer.close()
    await hearer.close()
  }
