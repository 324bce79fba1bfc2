import type { QueueEvents } from '../broker/events.ts'
import { THROWAWAY_DELIVERIES, throwawayName, throwawayQueues, type ThrowawayQueues } from '../broker/throwaway.ts'
import { withOptions } from '../url/url.ts'
import { loadKafka } from './client.ts'
import { openKafkaQueue } from './task-queue.ts'
import { deadName, topicName } from './topology.ts'
import { parseKafkaUrl } from './url.ts'

/** Topics of their own, for `verify-backend`; disposing of them deletes them. Their groups are empty, and expire. */
export function kafkaThrowaway(url: string, events: QueueEvents): ThrowawayQueues {
  const topic = throwawayName()
  const own = url.replace(/^(kafkas?:\/\/[^/?]*)[^?]*/, `$1/${topic}`)
  return throwawayQueues(
    withOptions(own, { partitions: 4, maxDeliveries: THROWAWAY_DELIVERIES, sessionTimeoutMs: 6000 }),
    (at) => openKafkaQueue(at, events),
    remove,
  )
}

async function remove(url: string, queues: readonly string[]): Promise<void> {
  const clients = await loadKafka(parseKafkaUrl(url))
  const admin = clients.admin()
  try {
    if (queues.length > 0)
      await admin.deleteTopics({
        topics: [...queues.map((queue) => topicName(clients.address, queue)), deadName(clients.address)],
      })
  } finally {
    await admin.close()
  }
}
