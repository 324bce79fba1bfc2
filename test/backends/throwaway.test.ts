import { ListTablesCommand, DynamoDBClient } from '@aws-sdk/client-dynamodb'
import { ListQueuesCommand, SQSClient } from '@aws-sdk/client-sqs'
import { Admin } from '@platformatic/kafka'
import { connect } from 'amqplib'
import { expect, test, vi } from 'vitest'
import type { ThrowawayQueues } from '../../src/backends/broker/throwaway.ts'
import { openThrowawayTable } from '../../src/backends/dynamodb/throwaway.ts'
import { kafkaThrowaway } from '../../src/backends/kafka/throwaway.ts'
import { rabbitmqThrowaway } from '../../src/backends/rabbitmq/throwaway.ts'
import { parseRabbitmqUrl } from '../../src/backends/rabbitmq/url.ts'
import { sqsThrowaway } from '../../src/backends/sqs/throwaway.ts'
import { systemClock } from '../../src/ports/clock.ts'
import { startDynamodb } from '../servers/dynamodb.ts'
import { startElasticmq } from '../servers/elasticmq.ts'
import { startKafka } from '../servers/kafka.ts'
import { startRabbitmq } from '../servers/rabbitmq.ts'
import { needs } from '../servers/shared.ts'
import { anything } from '../contracts/queues.ts'

vi.setConfig({ testTimeout: 120_000 })
vi.stubEnv('AWS_ACCESS_KEY_ID', 'test')
vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'test')
await needs('dynamodb', 'elasticmq', 'kafka', 'rabbitmq')

/** Declares, looks, disposes, and looks again. */
async function comesAndGoes(queues: ThrowawayQueues, names: () => Promise<string[]>): Promise<void> {
  const queue = await queues.open()
  await queue.ensureTopology(['one', 'two ümläut'])
  await queue.close()
  // What a broker has just made, another of its parts may not know yet.
  await vi.waitUntil(async () => (await names()).filter((name) => name.includes('verify-')).length === 3, 10_000)
  await queues[Symbol.asyncDispose]()
  await vi.waitUntil(async () => !(await names()).some((name) => name.includes('verify-')), 10_000)
}

test('queues of RabbitMQ for a while are gone with their exchange, and others stay', async () => {
  await using server = await startRabbitmq()
  const throwaway = rabbitmqThrowaway(server.url, anything)
  const { prefix } = parseRabbitmqUrl(throwaway.url)
  const connection = await connect(server.url)
  const candidates = [`${prefix}.one`, `${prefix}.two_20_c3_bcml_c3_a4ut`, `${prefix}-dead`, 'mine']
  const channel = await connection.createChannel()
  await channel.assertQueue('mine', { durable: true })
  await comesAndGoes(throwaway, async () => {
    const there: string[] = []
    for (const name of candidates) {
      const one = await connection.createChannel()
      one.on('error', () => undefined) // comes back from the operation too
      await one.checkQueue(name).then(
        () => there.push(name),
        () => undefined,
      )
    }
    expect(there).toContain('mine')
    return there
  })
  await connection.close()
})

test('topics of Kafka for a while are gone', async () => {
  await using server = await startKafka()
  const admin = new Admin({ clientId: 'test', bootstrapBrokers: [new URL(server.url).host] })
  await comesAndGoes(kafkaThrowaway(`${server.url.split('?')[0]}/mine`, anything), () => admin.listTopics())
  await admin.close()
})

test('queues of SQS for a while are gone', async () => {
  await using server = await startElasticmq()
  const client = new SQSClient(Object.fromEntries(new URL(server.url).searchParams))
  await comesAndGoes(
    sqsThrowaway(server.url, anything),
    async () => (await client.send(new ListQueuesCommand({}))).QueueUrls ?? [],
  )
  client.destroy()
})

test('a table of DynamoDB for a while is gone', async () => {
  await using server = await startDynamodb()
  const client = new DynamoDBClient({ region: 'us-east-1', endpoint: server.endpoint })
  const tables = async () => (await client.send(new ListTablesCommand({}))).TableNames
  {
    await using table = await openThrowawayTable(server.url.replace('dynamodb://', 'dynamodb://mine'), systemClock)
    expect(await tables()).toEqual([expect.stringMatching(/^mine-verify-[0-9a-f]{8}$/)])
    await (await table.open()).close()
  }
  expect(await tables()).toEqual([])
  client.destroy()
})
