import { Admin, ListOffsetTimestamps } from '@platformatic/kafka'
import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeEach, describe, test, vi } from 'vitest'
import { openKafkaQueue } from '../../src/backends/kafka/task-queue.ts'
import { taskQueueContract } from '../../src/testing/contracts/task-queue.ts'
import { startKafka } from '../servers/kafka.ts'
import { needs } from '../servers/shared.ts'

vi.setConfig({ testTimeout: 120_000 }) // the broker is stopped and started
await needs('kafka')
const server = await startKafka()
afterAll(() => server[Symbol.asyncDispose]())

const maxDeliveries = 3
const topic = `t${randomUUID().slice(0, 8)}`
const open = (partitions = 4) =>
  openKafkaQueue(
    `${server.url}/${topic}?partitions=${partitions}&maxDeliveries=${maxDeliveries}&sessionTimeoutMs=6000`,
    { onUp() {}, onDown() {} },
  )

/** How many messages the topic of dead letters holds. */
async function deadLetters(): Promise<number> {
  const admin = new Admin({ clientId: 'test', bootstrapBrokers: [`${server.host}:${server.port}`] })
  try {
    const partitions = [{ partitionIndex: 0, timestamp: ListOffsetTimestamps.LATEST }]
    const [listed] = await admin.listOffsets({ topics: [{ name: `${topic}-dead`, partitions }] })
    return Number(listed!.partitions[0]!.offset)
  } finally {
    await admin.close()
  }
}

taskQueueContract(
  { describe, test, beforeEach, afterEach },
  'Kafka',
  async () => ({ here: await open(), there: await open(), maxDeliveries }),
  {
    differing: () => open(2),
    deadLetters,
    outage: { stop: async () => void (await server.process.kill()), start: () => server.process.start() },
    quietMs: 8000, // more than the session's time-out
  },
)
