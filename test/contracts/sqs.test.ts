import {
  CreateQueueCommand,
  GetQueueAttributesCommand,
  GetQueueUrlCommand,
  ReceiveMessageCommand,
  SendMessageBatchCommand,
  SQSClient,
} from '@aws-sdk/client-sqs'
import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeEach, describe, test, vi } from 'vitest'
import { openSqsSource } from '../../src/backends/sqs/message-source.ts'
import { openSqsQueue } from '../../src/backends/sqs/task-queue.ts'
import { messageSourceContract } from '../../src/testing/contracts/message-source.ts'
import { taskQueueContract } from '../../src/testing/contracts/task-queue.ts'
import { given } from '../servers/catalog.ts'
import { startElasticmq } from '../servers/elasticmq.ts'
import { needs } from '../servers/shared.ts'
import { anything, withOptions } from './queues.ts'

vi.setConfig({ testTimeout: 120_000 }) // the server is stopped and started
vi.stubEnv('AWS_ACCESS_KEY_ID', process.env['AWS_ACCESS_KEY_ID'] ?? 'test')
vi.stubEnv('AWS_SECRET_ACCESS_KEY', process.env['AWS_SECRET_ACCESS_KEY'] ?? 'test')
if (given('sqs') === undefined) await needs('elasticmq')
const own = given('sqs') === undefined ? await startElasticmq() : undefined
const url = own?.url ?? given('sqs')!.url
afterAll(() => own?.[Symbol.asyncDispose]())

const maxDeliveries = 3
const prefix = `t${randomUUID().slice(0, 8)}`
const open = (visibilityS = 5) =>
  openSqsQueue(
    withOptions(url.replace('sqs://', `sqs://${prefix}`), { maxDeliveries, visibilityS, waitS: 2 }),
    anything,
  )

/** How many messages the queue of dead letters holds. */
async function deadLetters(): Promise<number> {
  const client = new SQSClient(Object.fromEntries(new URL(url).searchParams))
  try {
    const { QueueUrl } = await client.send(new GetQueueUrlCommand({ QueueName: `${prefix}_dead` }))
    const { Attributes } = await client.send(
      new GetQueueAttributesCommand({ QueueUrl, AttributeNames: ['ApproximateNumberOfMessages'] }),
    )
    return Number(Attributes!['ApproximateNumberOfMessages'])
  } finally {
    client.destroy()
  }
}

const outage = own && { stop: async () => void (await own.process.kill()), start: () => own.process.start() }

taskQueueContract(
  { describe, test, beforeEach, afterEach },
  'SQS',
  async () => ({ here: await open(), there: await open(), maxDeliveries }),
  {
    differing: () => open(6),
    deadLetters,
    ...(outage && { outage }),
    quietMs: 6000, // more than a long poll, and the visibility of a message
  },
)

async function connected<T>(act: (client: SQSClient) => Promise<T>): Promise<T> {
  const client = new SQSClient(Object.fromEntries(new URL(url).searchParams))
  try {
    return await act(client)
  } finally {
    client.destroy()
  }
}
const urlOf = async (client: SQSClient, name: string): Promise<string> =>
  (await client.send(new GetQueueUrlCommand({ QueueName: name }))).QueueUrl!
/** Bodies of the messages that a queue has, which nobody else reads. */
const bodiesOf = (name: string): Promise<string[]> =>
  connected(async (client) => {
    const QueueUrl = await urlOf(client, name)
    const bodies: string[] = []
    for (;;) {
      const receive = new ReceiveMessageCommand({ QueueUrl, MaxNumberOfMessages: 10, VisibilityTimeout: 1 })
      const { Messages = [] } = await client.send(receive)
      if (Messages.length === 0) return bodies
      bodies.push(...Messages.map(({ Body }) => Body!))
    }
  })

describe.each([
  ['with a queue for dead letters', false],
  ['with a redrive policy', false],
  ['FIFO with a redrive policy', true],
])('%s', (kind, isFifo) => {
  const isNamed = !kind.includes('policy')
  messageSourceContract(
    { describe, test, beforeEach, afterEach },
    `SQS ${kind}`,
    async () => {
      const suffix = isFifo ? '.fifo' : ''
      const id = randomUUID()
      const name = `source-${id}${suffix}`
      const dead = `source-${id}-dead${suffix}`
      const address = withOptions(url.replace('sqs://', `sqs://${name}`), {
        visibilityS: 3,
        waitS: 2,
        ...(isNamed && { dead }),
      })
      const fifo = isFifo ? ({ FifoQueue: 'true' } as const) : undefined
      return {
        open: (events) => openSqsSource(address, events),
        create: () =>
          connected(async (client) => {
            const { QueueUrl } = await client.send(
              new CreateQueueCommand({ QueueName: dead, ...(fifo && { Attributes: fifo }) }),
            )
            const { Attributes } = await client.send(
              new GetQueueAttributesCommand({ QueueUrl, AttributeNames: ['QueueArn'] }),
            )
            const policy = { deadLetterTargetArn: Attributes!['QueueArn'], maxReceiveCount: 100 }
            const redrive = isNamed ? {} : { RedrivePolicy: JSON.stringify(policy) }
            await client.send(new CreateQueueCommand({ QueueName: name, Attributes: { ...redrive, ...fifo } }))
          }),
        send: (messages) =>
          connected(async (client) => {
            const QueueUrl = await urlOf(client, name)
            for (const { body, headers = {} } of messages) {
              const MessageAttributes = Object.fromEntries(
                Object.entries(headers).map(([key, StringValue]) => [key, { DataType: 'String', StringValue }]),
              )
              const order = isFifo ? { MessageGroupId: randomUUID(), MessageDeduplicationId: randomUUID() } : {}
              const Entries = [{ Id: '0', MessageBody: body, MessageAttributes, ...order }]
              await client.send(new SendMessageBatchCommand({ QueueUrl, Entries }))
            }
          }),
        deadLetters: () => bodiesOf(dead),
      }
    },
    { holdMs: 5000, ...(isNamed && outage && { outage }) }, // more than the visibility
  )
})
