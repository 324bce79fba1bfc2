// The four task queues.
import { setTimeout as sleep } from 'node:timers/promises'
import { openKafkaQueue } from '../../../src/backends/kafka/task-queue.ts'
import { openRabbitmqQueue } from '../../../src/backends/rabbitmq/task-queue.ts'
import { openSqsQueue } from '../../../src/backends/sqs/task-queue.ts'
import type { TaskQueue } from '../../../src/ports/task-queue.ts'
import { startElasticmq } from '../../servers/elasticmq.ts'
import { startKafka } from '../../servers/kafka.ts'
import { startRabbitmq } from '../../servers/rabbitmq.ts'
import type { Link, Toxiproxy } from '../../servers/toxiproxy.ts'
import { QUEUE, useLocalCredentials, type QueueBackend, type QueueName } from './backend.ts'
import { Links } from './links.ts'

/** Starts a queue. */
export function startQueue(name: QueueName, toxiproxy: Toxiproxy): Promise<QueueBackend> {
  if (name === 'store') return storesOwn()
  if (name === 'rabbitmq') return rabbitmq(toxiproxy)
  return name === 'kafka' ? kafka(toxiproxy) : sqs(toxiproxy)
}

const quiet = { onUp() {}, onDown() {}, onRefused() {} }

async function depthOf(open: () => Promise<TaskQueue>): Promise<Record<string, number>> {
  const queue = await open()
  try {
    return { messages: (await queue.depth(QUEUE)) ?? 0 }
  } finally {
    await queue.close()
  }
}

/** The bell of the store itself. */
async function storesOwn(): Promise<QueueBackend> {
  return {
    urlFor: async () => 'store:',
    links: undefined,
    faults: {},
    rest: async () => ({}),
    [Symbol.asyncDispose]: async () => undefined,
  }
}

async function rabbitmq(toxiproxy: Toxiproxy): Promise<QueueBackend> {
  const server = await startRabbitmq()
  const links = new Links(toxiproxy, 'rabbitmq', server)
  const urlOf = (port: number): string => `amqp://guest:guest@127.0.0.1:${port}/?commandTimeoutMs=2000`
  return {
    urlFor: async (process) => urlOf((await links.of(process)).port),
    links,
    faults: {
      'broker killed': async () => {
        await server.kill()
        await server.process.start()
      },
      'broker purged': async () => {
        const { connect } = await import('amqplib')
        const connection = await connect(urlOf(server.port))
        connection.on('error', () => undefined) // the purge is rejected with it
        try {
          const channel = await connection.createChannel()
          await channel.purgeQueue(`holdfast.${QUEUE}`)
        } finally {
          await connection.close()
        }
      },
    },
    rest: () => depthOf(() => openRabbitmqQueue(urlOf(server.port), quiet)),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
}

/** Its clients go where it says it is: behind one link for all. */
async function kafka(toxiproxy: Toxiproxy): Promise<QueueBackend> {
  let link: Link | undefined
  const server = await startKafka({
    advertised: async (address) => (link = await toxiproxy.proxy('kafka', address)),
  })
  const links = new Links(toxiproxy, 'kafka', server, link!)
  const url = `kafka://127.0.0.1:${link!.port}/holdfast?partitions=8&sessionTimeoutMs=6000&commandTimeoutMs=2000`
  return {
    urlFor: async () => url,
    links,
    faults: {
      'broker killed': async () => {
        await server.process.kill()
        await server.process.start()
      },
      'broker paused': async (lastingMs) => {
        server.process.pause()
        await sleep(lastingMs)
        server.process.resume()
      },
      'broker purged': async () => {
        const { Admin } = await import('@platformatic/kafka')
        const admin = new Admin({ clientId: 'nemesis', bootstrapBrokers: [`127.0.0.1:${server.port}`], retries: 3 })
        try {
          const partitions = Array.from({ length: 8 }, (_, partition) => ({ partition, offset: -1n }))
          await admin.deleteRecords({ topics: [{ name: `holdfast.${QUEUE}`, partitions }] })
        } finally {
          await admin.close()
        }
      },
    },
    rest: () => depthOf(() => openKafkaQueue(url, quiet)),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
}

async function sqs(toxiproxy: Toxiproxy): Promise<QueueBackend> {
  useLocalCredentials()
  const server = await startElasticmq()
  const links = new Links(toxiproxy, 'sqs', server)
  const urlOf = (port: number): string =>
    `sqs://holdfast?region=us-east-1&visibilityS=5&waitS=2&connectTimeoutMs=1000&commandTimeoutMs=3000&endpoint=${encodeURIComponent(`http://127.0.0.1:${port}`)}`
  return {
    urlFor: async (process) => urlOf((await links.of(process)).port),
    links,
    faults: {
      'broker killed': async () => {
        await server.process.kill()
        await server.process.start()
      },
      'broker paused': async (lastingMs) => {
        server.process.pause()
        await sleep(lastingMs)
        server.process.resume()
      },
      'broker purged': async () => {
        const { PurgeQueueCommand, SQSClient } = await import('@aws-sdk/client-sqs')
        const client = new SQSClient({ region: 'us-east-1', endpoint: server.endpoint })
        try {
          await client.send(new PurgeQueueCommand({ QueueUrl: `${server.endpoint}/000000000000/holdfast-${QUEUE}` }))
        } finally {
          client.destroy()
        }
      },
    },
    rest: () => depthOf(() => openSqsQueue(urlOf(server.port), quiet)),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
}
