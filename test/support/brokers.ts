import { CreateQueueCommand, GetQueueAttributesCommand, SendMessageBatchCommand, SQSClient } from '@aws-sdk/client-sqs'
import { Admin, Producer } from '@platformatic/kafka'
import { connect } from 'amqplib'
import { randomUUID } from 'node:crypto'
import type { Reachable } from '../servers/catalog.ts'

/** A queue or topic of somebody's, who sends to it. */
export interface Sender {
  /** What a trigger reads from. */
  readonly url: string
  send(bodies: readonly string[]): Promise<void>
}

const withPath = (url: string, path: string): string => {
  const [authority = '', query] = url.split('?')
  return `${authority.replace(/\/$/, '')}/${path}${query === undefined ? '' : `?${query}`}`
}

/** A quorum queue; each message has an id. */
export async function rabbitmqSender({ url }: Reachable): Promise<Sender> {
  const queue = `trigger-${randomUUID()}`
  const connection = await connect(url)
  const channel = await connection.createChannel()
  await channel.assertQueue(queue, { durable: true, arguments: { 'x-queue-type': 'quorum' } })
  await connection.close()
  return {
    url: withPath(url, queue),
    async send(bodies) {
      const sending = await connect(url)
      const confirmed = await sending.createConfirmChannel()
      for (const body of bodies)
        confirmed.sendToQueue(queue, Buffer.from(body), { persistent: true, messageId: randomUUID() })
      await confirmed.waitForConfirms()
      await sending.close()
    },
  }
}

/** A topic of four partitions. */
export async function kafkaSender({ url }: Reachable): Promise<Sender> {
  const topic = `trigger-${randomUUID()}`
  const base = { clientId: 'test', bootstrapBrokers: new URL(url).host.split(',') }
  const admin = new Admin(base)
  await admin.createTopics({ topics: [topic], partitions: 4, replicas: 1 })
  await admin.close()
  return {
    url: `${withPath(url, topic)}${url.includes('?') ? '&' : '?'}sessionTimeoutMs=6000`,
    async send(bodies) {
      const producer = new Producer({ ...base, idempotent: true, acks: -1, retries: 10 })
      await producer.send({
        messages: bodies.map((body) => ({ topic, key: Buffer.from(randomUUID()), value: Buffer.from(body) })),
      })
      await producer.close(true)
    },
  }
}

/** A standard queue with a redrive policy. */
export async function sqsSender({ url }: Reachable): Promise<Sender> {
  const queue = `trigger-${randomUUID()}`
  const client = (): SQSClient => new SQSClient(Object.fromEntries(new URL(url).searchParams))
  const creating = client()
  const dead = await creating.send(new CreateQueueCommand({ QueueName: `${queue}-dead` }))
  const { Attributes } = await creating.send(
    new GetQueueAttributesCommand({ QueueUrl: dead.QueueUrl, AttributeNames: ['QueueArn'] }),
  )
  const RedrivePolicy = JSON.stringify({ deadLetterTargetArn: Attributes!['QueueArn'], maxReceiveCount: 10 })
  const { QueueUrl } = await creating.send(new CreateQueueCommand({ QueueName: queue, Attributes: { RedrivePolicy } }))
  creating.destroy()
  return {
    url: `${url.replace('sqs://', `sqs://${queue}`)}&visibilityS=3&waitS=2`,
    async send(bodies) {
      const sending = client()
      for (let from = 0; from < bodies.length; from += 10) {
        const Entries = bodies.slice(from, from + 10).map((body, index) => ({ Id: String(index), MessageBody: body }))
        await sending.send(new SendMessageBatchCommand({ QueueUrl, Entries }))
      }
      sending.destroy()
    },
  }
}
