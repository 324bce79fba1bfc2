import type { QueueAttributeName, SQSClient } from '@aws-sdk/client-sqs'
import { HoldfastError } from '../../errors/holdfast-error.ts'
import { safeName } from '../broker/names.ts'
import type { SqsAddress, SqsService } from './url.ts'

/** The part of the client library that is used. */
export type SqsLibrary = typeof import('@aws-sdk/client-sqs')

type Attributes = Partial<Record<QueueAttributeName, string>>

/** The longest that SQS keeps messages: dead letters are for people to look at. */
const DEAD_RETENTION_S = 14 * 86_400
/** A bell that nobody heard for an hour tells nothing that the store does not know. */
const RETENTION_S = 3600
const MAX_NAME = 80

/** What a queue is called. */
export const queueName = ({ prefix }: SqsAddress, queue: string): string =>
  `${prefix}-${safeName(queue, MAX_NAME - prefix.length - 1)}`
/** Of the queue for messages that came too often. */
export const deadName = ({ prefix }: SqsAddress): string => `${prefix}_dead`

/** Sends commands to SQS, each within its time. */
export class SqsCommands<Address extends SqsService = SqsAddress> {
  readonly library: SqsLibrary
  readonly address: Address
  readonly #client: SQSClient
  readonly #urls = new Map<string, string>()

  constructor(library: SqsLibrary, address: Address) {
    this.library = library
    this.address = address
    const { region, endpoint, connectTimeoutMs } = address
    this.#client = new library.SQSClient({
      ...(region === undefined ? {} : { region }),
      // The SDK would send what is meant for a queue to the host in its URL, which a server behind a proxy or in a container may
      // not know: who names an endpoint means it.
      ...(endpoint === undefined ? {} : { endpoint, useQueueUrlAsEndpoint: false }),
      maxAttempts: 1, // who rings or listens tries again in its own time
      requestHandler: { connectionTimeout: connectTimeoutMs },
    })
  }

  /** The client with the bound of one command; `extraMs` for what waits on the server. */
  get client(): SQSClient {
    return this.#client
  }

  /** Ends a command that takes longer than it may, or when `signal` fires. */
  bound(extraMs = 0, signal?: AbortSignal): { abortSignal: AbortSignal } {
    const timeout = AbortSignal.timeout(this.address.commandTimeoutMs + extraMs)
    return { abortSignal: signal === undefined ? timeout : AbortSignal.any([timeout, signal]) }
  }

  /**
   * The URL of a queue; asked for once.
   * @returns `undefined` where there is no such queue.
   */
  async urlOf(name: string): Promise<string | undefined> {
    const known = this.#urls.get(name)
    if (known !== undefined) return known
    try {
      const { QueueUrl } = await this.#client.send(
        new this.library.GetQueueUrlCommand({ QueueName: name }),
        this.bound(),
      )
      this.#urls.set(name, QueueUrl!)
      return QueueUrl!
    } catch (error) {
      if (error instanceof this.library.QueueDoesNotExist) return undefined
      throw error
    }
  }

  /** Forgets the URL of a queue that is not there any more. */
  forget(name: string): void {
    this.#urls.delete(name)
  }

  /**
   * Creates a queue that is not there, and checks one that is.
   * @param checked what it must have
   * @param initial what it gets beside that
   */
  async declare(name: string, checked: Attributes, initial: Attributes): Promise<string> {
    let url = await this.urlOf(name)
    if (url === undefined) {
      const created = await this.#client.send(
        new this.library.CreateQueueCommand({ QueueName: name, Attributes: { ...initial, ...checked } }),
        this.bound(),
      )
      url = created.QueueUrl!
    }
    if (Object.keys(checked).length > 0) await this.#check(name, url, checked)
    return url
  }

  /** What SQS calls a queue in policies. */
  async arnOf(url: string): Promise<string> {
    const { Attributes } = await this.#client.send(
      new this.library.GetQueueAttributesCommand({ QueueUrl: url, AttributeNames: ['QueueArn'] }),
      this.bound(),
    )
    return Attributes!['QueueArn']!
  }

  close(): void {
    this.#client.destroy()
  }

  async #check(name: string, url: string, wanted: Attributes): Promise<void> {
    const names = Object.keys(wanted) as QueueAttributeName[]
    const { Attributes: present = {} } = await this.#client.send(
      new this.library.GetQueueAttributesCommand({ QueueUrl: url, AttributeNames: names }),
      this.bound(),
    )
    for (const attribute of names) {
      const [is, must] = [present[attribute], wanted[attribute]!]
      if (is !== undefined && canonical(is) === canonical(must)) continue
      throw new HoldfastError(
        'backend_mismatch',
        `The SQS queue ${JSON.stringify(name)} has ${attribute} ${is ?? '(none)'}, and ${must} is needed: change the queue, or the URL.`,
      )
    }
  }
}

/** A redrive policy is JSON, whose numbers some servers give back as texts. */
function canonical(value: string): string {
  if (!value.startsWith('{')) return value
  const fields = Object.entries(JSON.parse(value) as Record<string, unknown>)
  return JSON.stringify(fields.map(([key, field]) => [key, String(field)]).toSorted())
}

/**
 * Creates queues that are not there, and checks the others.
 * @throws {HoldfastError} `backend_mismatch` with what differs.
 */
export async function declare(commands: SqsCommands, queues: readonly string[]): Promise<void> {
  const { address } = commands
  const deadUrl = await commands.declare(deadName(address), {}, { MessageRetentionPeriod: String(DEAD_RETENTION_S) })
  const deadLetterTargetArn = await commands.arnOf(deadUrl)
  for (const queue of queues)
    await commands.declare(
      queueName(address, queue),
      {
        VisibilityTimeout: String(address.visibilityS),
        RedrivePolicy: JSON.stringify({ deadLetterTargetArn, maxReceiveCount: address.maxDeliveries }),
      },
      { MessageRetentionPeriod: String(RETENTION_S) },
    )
}
