import type { Channel, ChannelModel } from 'amqplib'
import { HoldfastError } from '../../errors/holdfast-error.ts'
import { safeName } from '../broker/names.ts'
import type { RabbitmqAddress } from './url.ts'

/** Dead letters are for people to look at: the oldest go first. */
const MAX_DEAD_LETTERS = 10_000
/** A queue's name has 255 bytes at most; shorter ones stay readable. */
const MAX_NAME = 200
const PRECONDITION_FAILED = 406

/** What a queue is called on the broker. */
export const queueName = ({ prefix }: RabbitmqAddress, queue: string): string =>
  `${prefix}.${safeName(queue, MAX_NAME)}`
/** Of the exchange and the queue for messages that came too often. */
export const deadName = ({ prefix }: RabbitmqAddress): string => `${prefix}-dead`

/**
 * Declares the queues: quorum queues, so that what was confirmed outlives a node of the cluster.
 * @throws {HoldfastError} `backend_mismatch` with what the broker says differs.
 */
export async function declare(model: ChannelModel, address: RabbitmqAddress, queues: readonly string[]): Promise<void> {
  const dead = deadName(address)
  await declaring(model, dead, async (channel) => {
    await channel.assertExchange(dead, 'fanout', { durable: true })
    await channel.assertQueue(dead, {
      durable: true,
      arguments: { 'x-queue-type': 'quorum', 'x-max-length': MAX_DEAD_LETTERS, 'x-overflow': 'drop-head' },
    })
    await channel.bindQueue(dead, dead, '')
  })
  for (const queue of queues) {
    const name = queueName(address, queue)
    await declaring(model, name, (channel) =>
      channel.assertQueue(name, {
        durable: true,
        arguments: {
          'x-queue-type': 'quorum',
          // The broker counts how often a message came again.
          'x-delivery-limit': address.maxDeliveries - 1,
          'x-dead-letter-exchange': dead,
          'x-max-length': address.maxLength,
          'x-overflow': 'reject-publish',
        },
      }),
    )
  }
}

/** On a channel of its own: a refusal closes it. */
async function declaring(
  model: ChannelModel,
  name: string,
  act: (channel: Channel) => Promise<unknown>,
): Promise<void> {
  const channel = await model.createChannel()
  channel.on('error', () => undefined) // comes back from the operation too
  try {
    await act(channel)
  } catch (cause) {
    if ((cause as { code?: number }).code !== PRECONDITION_FAILED) throw cause
    const said = /"PRECONDITION_FAILED - (.*)"/s.exec((cause as Error).message)?.[1] ?? (cause as Error).message
    throw new HoldfastError(
      'backend_mismatch',
      `RabbitMQ has ${JSON.stringify(name)} with other settings: ${said}. Delete it when it is empty, or write another prefix into the URL.`,
      { cause },
    )
  }
  await channel.close()
}
