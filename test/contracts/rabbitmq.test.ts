import { connect, type ChannelModel, type Options } from 'amqplib'
import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { openRabbitmqSource } from '../../src/backends/rabbitmq/message-source.ts'
import { openRabbitmqQueue } from '../../src/backends/rabbitmq/task-queue.ts'
import { messageSourceContract } from '../../src/testing/contracts/message-source.ts'
import { taskQueueContract } from '../../src/testing/contracts/task-queue.ts'
import { given } from '../servers/catalog.ts'
import { startRabbitmq } from '../servers/rabbitmq.ts'
import { needs } from '../servers/shared.ts'
import { anything, withOptions } from './queues.ts'

vi.setConfig({ testTimeout: 120_000 }) // the broker is stopped and started
if (given('rabbitmq') === undefined) await needs('rabbitmq')
const own = given('rabbitmq') === undefined ? await startRabbitmq() : undefined
const url = own?.url ?? given('rabbitmq')!.url
afterAll(() => own?.[Symbol.asyncDispose]())

const maxDeliveries = 3
const prefix = `t${randomUUID().slice(0, 8)}`
const open = (more: Record<string, number> = {}) =>
  openRabbitmqQueue(withOptions(url, { prefix, maxDeliveries, ...more }), anything)

async function connected<T>(act: (connection: ChannelModel) => Promise<T>): Promise<T> {
  const connection = await connect(url)
  try {
    return await act(connection)
  } finally {
    await connection.close()
  }
}
/** How many messages the queue of dead letters holds. */
const deadLetters = (): Promise<number> =>
  connected(async (connection) => (await (await connection.createChannel()).checkQueue(`${prefix}-dead`)).messageCount)

const outage = own && {
  async stop() {
    // A quorum queue that was declared a moment ago may come back without a leader.
    await new Promise((resolve) => setTimeout(resolve, 6000))
    await own.kill()
  },
  start: () => own.process.start(),
}

taskQueueContract(
  { describe, test, beforeEach, afterEach },
  'RabbitMQ',
  async () => ({ here: await open(), there: await open(), maxDeliveries }),
  {
    differing: () => open({ maxLength: 5 }),
    deadLetters,
    ...(outage && { outage }),
    quietMs: 22_000, // more than two heartbeats
  },
)

/** Sends to a queue; resolves when all are confirmed. */
const send = (queue: string, messages: readonly { body: string; options?: Options.Publish }[]): Promise<void> =>
  connected(async (connection) => {
    const channel = await connection.createConfirmChannel()
    for (const { body, options } of messages) channel.sendToQueue(queue, Buffer.from(body), options)
    await channel.waitForConfirms()
  })
/** Bodies of the messages in a queue. */
const bodiesOf = (queue: string): Promise<string[]> =>
  connected(async (connection) => {
    const channel = await connection.createChannel()
    const bodies: string[] = []
    for (let one = await channel.get(queue); one !== false; one = await channel.get(queue))
      bodies.push(one.content.toString())
    return bodies // not acknowledged: they stay
  })
const sourceUrl = (queue: string, options: Record<string, string> = {}): string =>
  withOptions(`${url.replace(/\/$/, '')}/${queue}`, { commandTimeoutMs: 5000, ...options })

describe.each([
  ['with a queue for dead letters', true],
  ['with a dead-letter exchange of the queue', false],
])('%s', (kind, isNamed) => {
  messageSourceContract(
    { describe, test, beforeEach, afterEach },
    `RabbitMQ ${kind}`,
    async () => {
      const queue = `source-${randomUUID()}`
      const dead = `${queue}-dead`
      return {
        open: (events) => openRabbitmqSource(sourceUrl(queue, isNamed ? { dead } : {}), events),
        create: () =>
          connected(async (connection) => {
            const channel = await connection.createChannel()
            const quorum = { 'x-queue-type': 'quorum' }
            await channel.assertQueue(dead, { durable: true, arguments: quorum })
            const routed = { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': dead }
            await channel.assertQueue(queue, { durable: true, arguments: isNamed ? quorum : { ...quorum, ...routed } })
          }),
        send: (messages) =>
          send(
            queue,
            messages.map(({ body, headers }) => ({
              body,
              options: { messageId: randomUUID(), persistent: true, ...(headers && { headers }) },
            })),
          ),
        deadLetters: () => bodiesOf(dead),
      }
    },
    isNamed ? { ...(outage && { outage }) } : {},
  )
})

test('what is not a bell becomes a dead letter, and the next bell is heard', async () => {
  await using queue = await disposable()
  await queue.ensureTopology(['foreign'])
  const before = await deadLetters()
  const heard: string[] = []
  await queue.listen(['foreign'], async ({ taskIds }) => void heard.push(...taskIds), { credits: 1 })
  await connected(async (connection) => {
    const channel = await connection.createConfirmChannel()
    for (const body of ['not JSON', '{"queue":1}', '[]', 'null'])
      channel.sendToQueue(`${prefix}.foreign`, Buffer.from(body))
    await channel.waitForConfirms()
  })
  await queue.ring('foreign', ['good'])
  await vi.waitUntil(() => heard.includes('good'), 10_000)
  await vi.waitUntil(async () => (await deadLetters()) === before + 4, 10_000)
})

test('a ring for a queue that was deleted fails; a listener declares it again, and hears', async () => {
  await using queue = await disposable()
  await queue.ensureTopology(['deleted'])
  const remove = () =>
    connected(async (connection) => (await connection.createChannel()).deleteQueue(`${prefix}.deleted`))
  await remove()
  await expect(queue.ring('deleted', ['lost'])).rejects.toMatchObject({
    code: 'backend_failed',
    message: expect.stringContaining('deleted'),
  })
  const heard: string[] = []
  await queue.listen(['deleted'], async ({ taskIds }) => void heard.push(...taskIds), { credits: 1 })
  const rings = async (id: string) =>
    queue.ring('deleted', [id]).then(
      () => true,
      () => false,
    )
  await vi.waitUntil(() => rings('first'), 10_000)
  await vi.waitUntil(() => heard.includes('first'), 10_000)
  await remove()
  await vi.waitUntil(() => rings('second'), { timeout: 10_000, interval: 50 })
  await vi.waitUntil(() => heard.includes('second'), 10_000)
})

test('a queue that is full refuses rings, until somebody listens', async () => {
  await using queue = await disposable({ maxLength: 2 })
  await queue.ensureTopology(['full'])
  const ring = (): Promise<string> =>
    queue.ring('full', ['id']).then(
      () => 'rung',
      ({ code }: { code: string }) => code,
    )
  await vi.waitUntil(async () => (await ring()) === 'backend_failed', 10_000)
  await queue.listen(['full'], async () => undefined, { credits: 1 })
  await vi.waitUntil(async () => (await ring()) === 'rung', 10_000)
})

test('a wrong password is told, by whoever needs the broker', async () => {
  const down: string[] = []
  const wrong = url.replace(/\/\/[^@]*@/, '//guest:wrong@')
  const queue = await openRabbitmqQueue(wrong, { ...anything, onDown: ({ message }) => down.push(message) })
  const refused = { code: 'backend_failed', message: expect.stringContaining('ACCESS_REFUSED') }
  await expect(queue.ensureTopology(['any'])).rejects.toMatchObject(refused)
  await expect(queue.ring('any', [])).rejects.toMatchObject(refused)
  expect(down).toEqual([expect.stringContaining('ACCESS_REFUSED')])
  await queue.close()
})

async function disposable(more: Record<string, number> = {}) {
  const queue = await open(more)
  return Object.assign(queue, { [Symbol.asyncDispose]: () => queue.close() })
}
