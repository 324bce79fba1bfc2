import { Admin, Consumer, ListOffsetTimestamps, Producer } from '@platformatic/kafka'
import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeEach, describe, test, vi } from 'vitest'
import { openKafkaSource } from '../../src/backends/kafka/message-source.ts'
import { openKafkaQueue } from '../../src/backends/kafka/task-queue.ts'
import { messageSourceContract } from '../../src/testing/contracts/message-source.ts'
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
/** The URL with a topic; `url` may have options. */
const urlOf = (name: string): string => {
  const [authority, query = ''] = url.split('?') as [string, string?]
  return `${authority.replace(/\/$/, '')}/${name}${query === '' ? '' : `?${query}`}`
}
const open = (partitions = 4) =>
  openKafkaQueue(withOptions(urlOf(topic), { partitions, maxDeliveries, sessionTimeoutMs: 6000 }), anything)
const outage = own && { stop: async () => void (await own.process.kill()), start: () => own.process.start() }

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
    ...(outage && { outage }),
    quietMs: 8000, // more than the session's time-out
  },
)

const base = { clientId: 'test', bootstrapBrokers: new URL(url).host.split(',') }
/** Runs with a client, and closes it. */
async function using<Client extends Admin | Producer | Consumer, T>(
  client: Client,
  act: (client: Client) => Promise<T>,
): Promise<T> {
  try {
    return await act(client)
  } finally {
    await (client instanceof Admin ? client.close() : client.close(true))
  }
}
/** Bodies of all messages of a topic with one partition. */
const bodiesOf = (name: string): Promise<string[]> =>
  using(new Consumer({ ...base, groupId: `test-${randomUUID()}` }), async (consumer) => {
    const partitions = [{ partitionIndex: 0, timestamp: ListOffsetTimestamps.LATEST }]
    const [listed] = await using(new Admin(base), (admin) => admin.listOffsets({ topics: [{ name, partitions }] }))
    const end = Number(listed!.partitions[0]!.offset)
    const bodies: string[] = []
    if (end === 0) return bodies
    const stream = await consumer.consume({ topics: [name], mode: 'earliest', autocommit: false, maxWaitTime: 100 })
    for await (const { value } of stream) if (bodies.push(value.toString()) === end) break
    await stream.close()
    return bodies
  })

messageSourceContract(
  { describe, test, beforeEach, afterEach },
  'Kafka',
  async () => {
    const name = `source-${randomUUID()}`
    const dead = `${name}-dead`
    const address = withOptions(urlOf(name), { dead, sessionTimeoutMs: 6000 })
    return {
      open: (events) => openKafkaSource(address, `group-${name}`, events),
      create: () =>
        using(new Admin(base), async (admin) => {
          await admin.createTopics({ topics: [name], partitions: 4, replicas: 1 })
          await admin.createTopics({ topics: [dead], partitions: 1, replicas: 1 })
        }),
      send: (messages) =>
        using(new Producer({ ...base, idempotent: true, acks: -1, retries: 10 }), async (producer) => {
          await producer.send({
            messages: messages.map(({ body, headers = {} }) => ({
              topic: name,
              key: Buffer.from(randomUUID()),
              value: Buffer.from(body),
              headers: new Map(
                Object.entries(headers).map(([key, text]): [Buffer, Buffer] => [Buffer.from(key), Buffer.from(text)]),
              ),
            })),
          })
        }),
      deadLetters: () => bodiesOf(dead),
    }
  },
  { ...(outage && { outage }), holdMs: 8000 }, // more than the session's time-out
)
