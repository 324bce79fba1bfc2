import type { QueueEvents } from '../backends/broker/events.ts'
import { isKafkaUrl } from '../backends/kafka/url.ts'
import { MemoryTaskQueue } from '../backends/memory/task-queue.ts'
import { isPostgresUrl } from '../backends/postgres/url.ts'
import { isRabbitmqUrl } from '../backends/rabbitmq/url.ts'
import { isSqsUrl } from '../backends/sqs/url.ts'
import { HoldfastError } from '../errors/holdfast-error.ts'
import type { TaskQueue } from '../ports/task-queue.ts'
import { schemeOf } from './backends.ts'

/** The task store rings its own bell. */
export const STORE_QUEUE = 'store:'

const isBroker = (url: string): boolean => isRabbitmqUrl(url) || isKafkaUrl(url) || isSqsUrl(url)

/**
 * Checks the scheme of a queue URL. The rest is read when the queue is opened.
 * @throws {HoldfastError} `invalid_option` that names the scheme.
 */
export function checkQueueUrl(url: string, name: string): void {
  if (url !== STORE_QUEUE && !isBroker(url))
    throw new HoldfastError(
      'invalid_option',
      `${name} has the scheme ${JSON.stringify(schemeOf(url))}; there are store:, amqp://, amqps://, kafka://, kafkas:// and sqs://.`,
    )
}

/**
 * Opens the task queue that a URL names. Clients are loaded only now. With `store:` Postgres rings by `NOTIFY`; beside any other
 * store bells ring within this process, and other processes find tasks by looking into the store.
 *
 * @param tasksUrl of the task store; `undefined` where it was given as an instance
 * @param events told of the broker, for log and metrics
 * @throws {HoldfastError} `invalid_option` for a URL that can't be used, or a client that is not installed.
 */
export async function openTaskQueue(
  url: string,
  tasksUrl: string | undefined,
  events: QueueEvents,
): Promise<TaskQueue> {
  checkQueueUrl(url, 'The queue URL')
  if (isRabbitmqUrl(url)) return (await import('../backends/rabbitmq/task-queue.ts')).openRabbitmqQueue(url, events)
  if (isKafkaUrl(url)) return (await import('../backends/kafka/task-queue.ts')).openKafkaQueue(url, events)
  if (isSqsUrl(url)) return (await import('../backends/sqs/task-queue.ts')).openSqsQueue(url, events)
  if (tasksUrl !== undefined && isPostgresUrl(tasksUrl))
    return (await import('../backends/postgres/task-queue.ts')).openPostgresQueue(tasksUrl, events)
  return new MemoryTaskQueue(events.onRefused)
}
