import { GetQueueAttributesCommand, GetQueueUrlCommand, SQSClient } from '@aws-sdk/client-sqs'
import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeEach, describe, test, vi } from 'vitest'
import { openSqsQueue } from '../../src/backends/sqs/task-queue.ts'
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

taskQueueContract(
  { describe, test, beforeEach, afterEach },
  'SQS',
  async () => ({ here: await open(), there: await open(), maxDeliveries }),
  {
    differing: () => open(6),
    deadLetters,
    ...(own && { outage: { stop: async () => void (await own.process.kill()), start: () => own.process.start() } }),
    quietMs: 6000, // more than a long poll, and the visibility of a message
  },
)
