import type { Admin, BaseOptions, Consumer, Producer } from '@platformatic/kafka'
import { HoldfastError } from '../../errors/holdfast-error.ts'
import { toQueueError } from '../broker/bell.ts'
import { loadClient } from '../broker/url.ts'
import { within } from '../broker/wait.ts'
import type { KafkaAddress, KafkaCluster } from './url.ts'

/** The part of the client library that is used. */
export type KafkaLibrary = Pick<
  typeof import('@platformatic/kafka'),
  'Admin' | 'Consumer' | 'Producer' | 'findErrorBy' | 'ConfigResourceTypes' | 'ListOffsetTimestamps'
>
/** A consumer of plain bytes. */
export type BytesConsumer = Consumer

/** Between two attempts of one operation. */
const RETRY_DELAY_MS = 500

/** Makes clients as a {@link KafkaCluster} says. */
export class KafkaClients<Address extends KafkaCluster = KafkaAddress> {
  readonly library: KafkaLibrary
  readonly address: Address

  constructor(library: KafkaLibrary, address: Address) {
    this.library = library
    this.address = address
  }

  admin(): Admin {
    return quiet(new this.library.Admin(this.#options(1)))
  }

  /**
   * Acknowledged by all replicas in sync. Not idempotent: a bell may ring twice, and a dead letter be kept twice; and the library
   * tries an idempotent producer's messages three times at least, each on connections of its own.
   */
  producer(): Producer {
    return quiet(new this.library.Producer({ ...this.#options(1), acks: -1 }))
  }

  /** Cooperative: when a listener comes or goes, the others keep what stays theirs. */
  consumer(groupId: string): BytesConsumer {
    const { sessionTimeoutMs } = this.address
    return quiet(
      new this.library.Consumer({
        ...this.#options(3),
        groupId,
        sessionTimeout: sessionTimeoutMs,
        rebalanceTimeout: 2 * sessionTimeoutMs,
        heartbeatInterval: Math.min(3000, Math.ceil(sessionTimeoutMs / 5)),
        protocols: [{ name: 'cooperative-sticky', version: 1 }],
        maxWaitTime: 1000,
        maxBytes: 1024 * 1024,
      }),
    )
  }

  /** Closes clients; brokers that do not answer hold that up for no longer than a command. */
  async end(producer: Producer | undefined, admin: Admin): Promise<void> {
    const closed = Promise.all([producer?.close(true), admin.close()])
    await within(this.address.commandTimeoutMs, 'The end of the connections', closed).catch(
      () => undefined, // what still waits for the broker ends with its request's time-out
    )
  }

  #options(retries: number): BaseOptions {
    const { brokers, connectTimeoutMs, commandTimeoutMs, sasl, tls } = this.address
    return {
      clientId: 'holdfast',
      bootstrapBrokers: [...brokers],
      connectTimeout: connectTimeoutMs,
      requestTimeout: commandTimeoutMs,
      timeout: commandTimeoutMs,
      retries,
      retryDelay: () => RETRY_DELAY_MS * (0.5 + Math.random()),
      ...(sasl && { sasl }),
      ...(tls && { tls }),
    }
  }
}

/** Errors come back from the operations; an event of that name without a listener would end the process. */
function quiet<Client extends { on(event: never, listener: () => void): unknown }>(client: Client): Client {
  client.on('error' as never, () => undefined)
  return client
}

/** Loads the client library. @throws {HoldfastError} `invalid_option` where the package is not installed. */
export async function loadKafka<Address extends KafkaCluster>(address: Address): Promise<KafkaClients<Address>> {
  const library = await loadClient(() => import('@platformatic/kafka'), '@platformatic/kafka@2', address.shown)
  return new KafkaClients(library, address)
}

/** Codes of the library's errors that a broker has sent. */
const ANSWERS = ['PLT_KFK_PROTOCOL', 'PLT_KFK_RESPONSE']

/** Whether an error is what a broker has answered: it is there. */
export function isAnswer({ library }: Pick<KafkaClients, 'library'>, error: unknown): boolean {
  const cause = (error instanceof HoldfastError ? error.cause : error) as Error
  return ANSWERS.some((code) => library.findErrorBy(cause, 'code', code) !== null)
}

/** The error of an operation: ours. The library's says how often it was tried, and the reason lies further in. */
export function toKafkaError(
  { library }: Pick<KafkaClients, 'library'>,
  operation: string,
  cause: unknown,
): HoldfastError {
  const error = toQueueError('Kafka', operation, cause)
  const lost = library.findErrorBy(cause as Error, 'code', 'PLT_KFK_NETWORK') as Error | null
  if (lost === null || lost === cause) return error
  return new HoldfastError(error.code, `${error.message} ${lost.message}`, { cause })
}
