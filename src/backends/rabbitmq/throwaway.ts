import { THROWAWAY_DELIVERIES, throwawayName, throwawayQueues, type ThrowawayQueues } from '../broker/throwaway.ts'
import { loadClient } from '../broker/url.ts'
import { withOptions } from '../url/url.ts'
import type { QueueEvents } from '../broker/events.ts'
import { Link } from './link.ts'
import { openRabbitmqQueue } from './task-queue.ts'
import { deadName, queueName } from './topology.ts'
import { parseRabbitmqUrl } from './url.ts'

/** Queues under a prefix of their own, for `verify-backend`; disposing of them removes them, and their exchange. */
export const rabbitmqThrowaway = (url: string, events: QueueEvents): ThrowawayQueues =>
  throwawayQueues(
    withOptions(url, { prefix: throwawayName(), maxDeliveries: THROWAWAY_DELIVERIES }),
    (own) => openRabbitmqQueue(own, events),
    remove,
  )

async function remove(url: string, queues: readonly string[]): Promise<void> {
  const address = parseRabbitmqUrl(url)
  const library = await loadClient(() => import('amqplib'), 'amqplib@2', address.shown)
  const link = new Link(library, address, 'verify', { onUp: () => undefined, onDown: () => undefined })
  try {
    const channel = await (await link.model()).createChannel()
    for (const queue of queues) await channel.deleteQueue(queueName(address, queue))
    await channel.deleteQueue(deadName(address))
    await channel.deleteExchange(deadName(address))
    await channel.close()
  } finally {
    await link.close()
  }
}
