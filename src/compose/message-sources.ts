import { HoldfastError } from '../errors/holdfast-error.ts'
import type { MessageSource, SourceEvents } from '../ports/message-source.ts'
import { schemeOf } from './backends.ts'

/**
 * Opens the queue or topic that a trigger is fed from.
 * @throws {HoldfastError} `invalid_option` for a URL that names none, or where the client library is not installed.
 */
export async function openMessageSource(url: string, trigger: string, events: SourceEvents): Promise<MessageSource> {
  const scheme = schemeOf(url)
  if (scheme === 'amqp:' || scheme === 'amqps:') {
    const { openRabbitmqSource } = await import('../backends/rabbitmq/message-source.ts')
    return openRabbitmqSource(url, events)
  }
  if (scheme === 'kafka:' || scheme === 'kafkas:') {
    const { openKafkaSource } = await import('../backends/kafka/message-source.ts')
    return openKafkaSource(url, `holdfast.${trigger}`, events)
  }
  if (scheme === 'sqs:') {
    const { openSqsSource } = await import('../backends/sqs/message-source.ts')
    return openSqsSource(url, events)
  }
  throw new HoldfastError(
    'invalid_option',
    `The trigger ${JSON.stringify(trigger)} reads from ${JSON.stringify(scheme)}; there are amqp://, amqps://, kafka://, kafkas:// and sqs://.`,
  )
}
