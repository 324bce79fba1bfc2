import { Admin, ListOffsetTimestamps } from '@platformatic/kafka'
import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeEach, describe, test, vi } from 'vitest'
import { openKafkaQueue } from '../../src/backends/kafka/task-queue.ts'
import { taskQueueContract } from '../../src/testing/contracts/task-queue.ts'
import { given } from '../servers/catalog.ts'
import { startKafka } from '../servers/kafka.ts'
import { needs } from '../servers/shared.ts'
import { anything, withOptions } from './queues.ts'

vi.setConfig({ testTimeout: 120_000 }) // the broker is stopped and started
if (given('kafka') === undefined) await needs('kafka')
const own = given('kafka') === undefined ? await startKafka() : undefined
const url = own?.url ?? given('kafka')!.url
afterAll(() => own?.[Symbol.asyncDispose]())

const maxDeliveries = 3
const topic = `t${randomUUID().slice(0, 8)}`
const open = (partitions = 4) => {
  const [authority, query = ''] = url.split('?') as [string, string?]
  const address = `${authority.replace(/\/$/, '')}/${topic}${query === '' ? '' : `?${query}`}`
  return openKafkaQueue(withOptions(address, { partitions, maxDeliveries, sessionTimeoutMs: 6000 }), anything)
}

/** How many messages the topic of dead letters holds. */
async function deadLetters(): Promise<number> {
  const admin = new Admin({ clientId: 'test', bootstrapBrokers: new URL(url).host.split(',') })
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
    ...(own && { outage: { stop: async () => void (await own.process.kill()), start: () => own.process.start() } }),
    quietMs: 8000, // more than the session's time-out
  },
)
