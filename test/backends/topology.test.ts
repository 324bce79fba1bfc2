import {
  CreateQueueCommand,
  GetQueueAttributesCommand,
  GetQueueUrlCommand,
  SetQueueAttributesCommand,
  SQSClient,
} from '@aws-sdk/client-sqs'
import { Admin } from '@platformatic/kafka'
import { connect, type Channel } from 'amqplib'
import { randomUUID } from 'node:crypto'
import { describe, expect, test, vi } from 'vitest'
import { openKafkaQueue } from '../../src/backends/kafka/task-queue.ts'
import { openRabbitmqQueue } from '../../src/backends/rabbitmq/task-queue.ts'
import { openSqsQueue } from '../../src/backends/sqs/task-queue.ts'
import type { HoldfastError } from '../../src/index.ts'
import type { TaskQueue } from '../../src/ports/task-queue.ts'
import { anything, withOptions } from '../contracts/queues.ts'
import { sharedServer } from '../servers/shared.ts'

// What somebody has made on a broker under our names, and how the start says that it will not do.

vi.setConfig({ testTimeout: 60_000 })
vi.stubEnv('AWS_ACCESS_KEY_ID', process.env['AWS_ACCESS_KEY_ID'] ?? 'test')
vi.stubEnv('AWS_SECRET_ACCESS_KEY', process.env['AWS_SECRET_ACCESS_KEY'] ?? 'test')
const [rabbitmq, kafka, sqs] = [
  await sharedServer('rabbitmq'),
  await sharedServer('kafka'),
  await sharedServer('sqs'),
] as const
const newName = (): string => `t${randomUUID().slice(0, 8)}`

/** The start is refused with a message that names all this, and again the second time: nothing was changed. */
async function isRefused(opened: Promise<TaskQueue>, parts: readonly string[]): Promise<void> {
  const queue = await opened
  try {
    for (const _time of ['first', 'second']) {
      const refusal = await queue.ensureTopology(['work']).then(
        () => undefined,
        (error: HoldfastError) => error,
      )
      expect(refusal?.code).toBe('backend_mismatch')
      for (const part of parts) expect(refusal?.message).toContain(part)
    }
  } finally {
    await queue.close()
  }
}

describe('RabbitMQ', () => {
  const QUORUM = { 'x-queue-type': 'quorum' }
  test.each([
    [
      'a classic queue',
      (channel: Channel, prefix: string) => channel.assertQueue(`${prefix}.work`, { durable: true }),
      '.work',
      "inequivalent arg 'x-dead-letter-exchange'",
      'current is none',
    ],
    [
      'a queue that holds less',
      (channel: Channel, prefix: string) =>
        channel.assertQueue(`${prefix}.work`, {
          durable: true,
          arguments: {
            ...QUORUM,
            'x-delivery-limit': 9,
            'x-dead-letter-exchange': `${prefix}-dead`,
            'x-max-length': 5,
            'x-overflow': 'reject-publish',
          },
        }),
      '.work',
      "inequivalent arg 'x-max-length'",
      "'5'",
    ],
    [
      'an exchange for dead letters that sends them elsewhere',
      (channel: Channel, prefix: string) => channel.assertExchange(`${prefix}-dead`, 'direct', { durable: true }),
      '-dead',
      "inequivalent arg 'type'",
      "'direct'",
    ],
  ])('%s', async (_what, make, name, setting, value) => {
    const prefix = newName()
    const connection = await connect(rabbitmq.url)
    await make(await connection.createChannel(), prefix)
    await connection.close()
    const opened = openRabbitmqQueue(withOptions(rabbitmq.url, { prefix }), anything)
    await isRefused(opened, [`${prefix}${name}`, setting, value, 'Delete it when it is empty'])
  })
})

/** What differs, of which topic, how it is, what the URL wants, what the message says. */
type Topic = [string, string, Record<string, string | number>, Record<string, number>, string[]]

describe('Kafka', () => {
  test.each<Topic>([
    ['fewer partitions', '.work', { partitions: 2 }, { partitions: 4 }, ['partitions: 2, and 4']],
    [
      'a longer retention',
      '.work',
      { 'retention.ms': '7200000' },
      { retentionMs: 60_000 },
      ['retention.ms 7200000, and 60000'],
    ],
    [
      'a topic that keeps bells for ever',
      '.work',
      { 'cleanup.policy': 'compact' },
      {},
      ['cleanup policy compact, and delete'],
    ],
    [
      'one for dead letters that takes no message without a key',
      '-dead',
      { 'cleanup.policy': 'compact' },
      {},
      ['cleanup policy compact, and delete'],
    ],
  ])('%s', async (_what, suffix, { partitions = 1, ...configs }, options, parts) => {
    const topic = newName()
    const admin = new Admin({ clientId: 'test', bootstrapBrokers: new URL(kafka.url).host.split(',') })
    await admin.createTopics({
      topics: [`${topic}${suffix}`],
      partitions: Number(partitions),
      replicas: 1,
      configs: Object.entries(configs).map(([name, value]) => ({ name, value: String(value) })),
    })
    await admin.close()
    const [authority = '', query] = kafka.url.split('?')
    const url = `${authority.replace(/\/$/, '')}/${topic}${query === undefined ? '' : `?${query}`}`
    await isRefused(openKafkaQueue(withOptions(url, options), anything), [`"${topic}${suffix}"`, ...parts])
  })
})

describe('SQS', () => {
  const client = (): SQSClient => new SQSClient(Object.fromEntries(new URL(sqs.url).searchParams))
  const open = (prefix: string, options: Record<string, number> = {}) =>
    openSqsQueue(withOptions(sqs.url.replace('sqs://', `sqs://${prefix}`), options), anything)

  test('another visibility, and a queue without a redrive policy', async () => {
    const prefix = newName()
    const making = client()
    const { QueueUrl } = await making.send(
      new CreateQueueCommand({ QueueName: `${prefix}-work`, Attributes: { VisibilityTimeout: '7' } }),
    )
    await isRefused(open(prefix), [`"${prefix}-work"`, 'VisibilityTimeout 7, and 30 is needed', 'change the queue'])
    await making.send(new SetQueueAttributesCommand({ QueueUrl, Attributes: { VisibilityTimeout: '30' } }))
    await isRefused(open(prefix), [`"${prefix}-work"`, 'RedrivePolicy (none), and {"deadLetterTargetArn"'])
    making.destroy()
  })

  test('another number of deliveries', async () => {
    const prefix = newName()
    const first = await open(prefix, { maxDeliveries: 4 })
    await first.ensureTopology(['work'])
    await first.close()
    await isRefused(open(prefix), ['RedrivePolicy', '"maxReceiveCount":4', '"maxReceiveCount":10'])
    const looking = client()
    const { QueueUrl } = await looking.send(new GetQueueUrlCommand({ QueueName: `${prefix}-work` }))
    const { Attributes } = await looking.send(
      new GetQueueAttributesCommand({ QueueUrl, AttributeNames: ['RedrivePolicy'] }),
    )
    expect(Number((JSON.parse(Attributes!['RedrivePolicy']!) as { maxReceiveCount: unknown }).maxReceiveCount)).toBe(4)
    looking.destroy()
  })
})
