import type { QueueEvents } from '../broker/events.ts'
import { THROWAWAY_DELIVERIES, throwawayName, throwawayQueues, type ThrowawayQueues } from '../broker/throwaway.ts'
import { loadClient } from '../broker/url.ts'
import { withOptions } from '../url/url.ts'
import { openSqsQueue } from './task-queue.ts'
import { deadName, queueName, SqsCommands } from './topology.ts'
import { parseSqsUrl } from './url.ts'

/** Queues under a prefix of their own, for `verify-backend`; disposing of them deletes them. */
export const sqsThrowaway = (url: string, events: QueueEvents): ThrowawayQueues =>
  throwawayQueues(
    withOptions(url.replace(/^sqs:\/\/[^/?]*/, `sqs://${throwawayName()}`), {
      maxDeliveries: THROWAWAY_DELIVERIES,
      visibilityS: 5,
      waitS: 2,
    }),
    (own) => openSqsQueue(own, events),
    remove,
  )

async function remove(url: string, queues: readonly string[]): Promise<void> {
  const address = parseSqsUrl(url)
  const library = await loadClient(() => import('@aws-sdk/client-sqs'), '@aws-sdk/client-sqs@3', address.shown)
  const commands = new SqsCommands(library, address)
  try {
    for (const name of [...queues.map((queue) => queueName(address, queue)), deadName(address)]) {
      const QueueUrl = await commands.urlOf(name)
      if (QueueUrl !== undefined)
        await commands.client.send(new library.DeleteQueueCommand({ QueueUrl }), commands.bound())
    }
  } finally {
    commands.client.destroy()
  }
}
