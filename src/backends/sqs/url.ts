import { commonOptions, prefixOf, type CommonOptions } from '../broker/url.ts'
import { refusing, UrlOptions, type Refuse } from '../url/url.ts'

/** Where queues of SQS are, as a URL says. Credentials come from where AWS' SDK looks for them. */
export interface SqsService extends Omit<CommonOptions, 'maxDeliveries'> {
  /** `undefined`: what the environment says (`AWS_REGION`). */
  readonly region: string | undefined
  /** Of a server that is not AWS'. */
  readonly endpoint: string | undefined
  /** So long a message is a listener's, before it comes again. */
  readonly visibilityS: number
  /** So long one request waits for messages. */
  readonly waitS: number
  readonly shown: string
}

/** Task queues on SQS. */
export interface SqsAddress extends SqsService {
  /** Starts the names of queues. */
  readonly prefix: string
  /** So often a message comes, before it becomes a dead letter. */
  readonly maxDeliveries: number
}

/** One queue of the user's own. */
export interface SqsSourceAddress extends SqsService {
  readonly queue: string
  /** Queue for messages that are not to be acted on; `undefined`: the one that the redrive policy names. */
  readonly dead: string | undefined
}

/** Whether a URL asks for this broker. */
export const isSqsUrl = (url: string): boolean => url.startsWith('sqs://')

const SERVICE = ['region', 'endpoint', 'visibilityS', 'waitS', 'connectTimeoutMs', 'commandTimeoutMs']
/** Names of queues, `.fifo` included (SQS, "Message quotas"). */
const QUEUE = /^[A-Za-z0-9_-]{1,80}(\.fifo)?$/

/**
 * Reads `sqs://[prefix][?region=…&endpoint=…&…]`.
 * @throws {HoldfastError} `invalid_option` that says what is wrong.
 */
export function parseSqsUrl(url: string): SqsAddress {
  const { name, options, service, fail } = read(url, 'sqs://prefix?region=eu-central-1', [...SERVICE, 'maxDeliveries'])
  return {
    ...service,
    prefix: prefixOf(name === '' ? undefined : name, fail),
    maxDeliveries: commonOptions(options).maxDeliveries,
  }
}

/**
 * Reads `sqs://queue[?region=…&endpoint=…&dead=…&…]`.
 * @throws {HoldfastError} `invalid_option` that says what is wrong.
 */
export function parseSqsSourceUrl(url: string): SqsSourceAddress {
  const { name, options, service, fail } = read(url, 'sqs://queue?region=eu-central-1', [...SERVICE, 'dead'])
  const dead = options.text('dead')
  for (const queue of dead === undefined ? [name] : [name, dead])
    if (!QUEUE.test(queue))
      fail(`names the queue ${JSON.stringify(queue)}; a name is 1 to 80 letters, digits, "-" and "_".`)
  return { ...service, queue: name, dead }
}

/** What URLs of both kinds say. */
function read(
  url: string,
  example: string,
  names: readonly string[],
): { name: string; options: UrlOptions; service: SqsService; fail: Refuse } {
  const fail = refusing('The queue URL', url)
  const parts = /^sqs:\/\/([^/?#@]*)\/?(?:\?([^#]*))?$/.exec(url)
  if (parts === null) return fail(`is malformed. Write ${example}; credentials belong into the environment.`)
  const options = new UrlOptions(parts[2] ?? '', names, fail)
  const { connectTimeoutMs, commandTimeoutMs } = commonOptions(options)
  return {
    name: parts[1]!,
    options,
    service: {
      connectTimeoutMs,
      commandTimeoutMs,
      region: options.text('region'),
      endpoint: options.http('endpoint'),
      visibilityS: options.number('visibilityS', 1, 43_200) ?? 30,
      waitS: options.number('waitS', 1, 20) ?? 20,
      shown: url,
    },
    fail,
  }
}
