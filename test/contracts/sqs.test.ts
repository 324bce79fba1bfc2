import { GetQueueAttributesCommand, GetQueueUrlCommand, SQSClient } from '@aws-sdk/client-sqs'
import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeEach, describe, test, vi } from 'vitest'
import { openSqsQueue } from '../../src/backends/sqs/task-queue.ts'
import { taskQueueContract } from '../../src/testing/contracts/task-queue.ts'
import { startElasticmq } from '../servers/elasticmq.ts'
import { needs } from '../servers/shared.ts'

vi.setConfig({ testTimeout: 120_000 }) // the server is stopped and started
vi.stubEnv('AWS_ACCESS_KEY_ID', 'test')
vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'test')
await needs('elasticmq')
const server = await startElasticmq()
afterAll(() => server[Symbol.asyncDispose]())

const maxDeliveries = 3
const prefix = `t${randomUUID().slice(0, 8)}`
const open = (visibilityS = 5) =>
  openSqsQueue(
    server.url.replace('sqs://', `sqs://${prefix}`) + `&maxDeliveries=${maxDeliveries}&visibilityS=${visibilityS}&waitS=2`,
    { onUp() {}, onDown() {} },
  )

/** How many messages the queue of dead letters holds. */
async function deadLetters(): Promise<number> {
  const client = new SQSClient({ region: 'us-east-1', endpoint: server.endpoint })
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
    outage: { stop: async () => void (await server.process.kill()), start: () => server.process.start() },
    quietMs: 6000, // more than a long poll, and the visibility of a message
  },
)
