import {
  commonOptions,
  prefixOf,
  readQueueUrl,
  TLS_OPTIONS,
  tlsOptions,
  type CommonOptions,
  type QueueUrl,
} from '../broker/url.ts'

/** A RabbitMQ broker, as its URL names it. */
export interface RabbitmqBroker extends Omit<CommonOptions, 'maxDeliveries'> {
  readonly host: string
  readonly port: number
  readonly vhost: string
  readonly username: string
  readonly password: string
  readonly tls: { readonly ca?: Buffer; readonly cert?: Buffer; readonly key?: Buffer } | undefined
  readonly shown: string
}

/** Task queues on RabbitMQ. */
export interface RabbitmqAddress extends RabbitmqBroker {
  /** Starts the names of queues. */
  readonly prefix: string
  /** So many bells of one queue may wait; the next are refused, since whoever listens looks into the store anyway. */
  readonly maxLength: number
  /** So often a message comes, before it becomes a dead letter. */
  readonly maxDeliveries: number
}

/** One queue of the user's own. */
export interface RabbitmqSourceAddress extends RabbitmqBroker {
  readonly queue: string
  /** Queue for messages that are not to be acted on; `undefined`: they are rejected, and go where the queue's policy says. */
  readonly dead: string | undefined
}

/** Whether a URL asks for this broker. */
export const isRabbitmqUrl = (url: string): boolean => /^amqps?:\/\//.test(url)

/**
 * Reads `amqp://[user:password@]host[:port][/vhost][?options]`, or `amqps`, over TLS.
 * @throws {HoldfastError} `invalid_option` that says what is wrong.
 */
export function parseRabbitmqUrl(url: string): RabbitmqAddress {
  const parsed = read(url, 'amqp://user:password@host:port/vhost', ['prefix', 'maxLength', 'maxDeliveries'])
  const { path, options, fail } = parsed
  return {
    ...broker(parsed, path === undefined || path === '' ? '/' : path),
    maxDeliveries: commonOptions(options).maxDeliveries,
    prefix: prefixOf(options.text('prefix'), fail),
    maxLength: options.number('maxLength', 1, 10_000_000) ?? 100_000,
  }
}

/**
 * Reads `amqp://[user:password@]host[:port][/vhost]/queue[?options]`, or `amqps`, over TLS.
 * @throws {HoldfastError} `invalid_option` that says what is wrong.
 */
export function parseRabbitmqSourceUrl(url: string): RabbitmqSourceAddress {
  const parsed = read(url, 'amqp://user:password@host:port/queue or …/vhost/queue', ['dead'])
  const { segments, options, fail } = parsed
  const queue = segments.at(-1) ?? ''
  if (segments.length > 2 || queue === '' || Buffer.byteLength(queue) > 255)
    fail('names no queue. Write amqp://host/queue or amqp://host/vhost/queue; a "/" within a name is written %2F.')
  return { ...broker(parsed, segments.length === 2 ? segments[0]! : '/'), queue, dead: options.text('dead') }
}

const read = (url: string, example: string, own: readonly string[]): QueueUrl =>
  readQueueUrl(url, {
    schemes: ['amqp', 'amqps'],
    example,
    defaultPort: (scheme) => (scheme === 'amqps' ? 5671 : 5672),
    optionNames: [...own, 'connectTimeoutMs', 'commandTimeoutMs', ...TLS_OPTIONS],
  })

function broker(parsed: QueueUrl, vhost: string): RabbitmqBroker {
  const { scheme, hosts, username, password, options, shown, fail } = parsed
  if (hosts.length > 1) fail('names several hosts: name the load balancer of the cluster.')
  const { connectTimeoutMs, commandTimeoutMs } = commonOptions(options)
  return {
    connectTimeoutMs,
    commandTimeoutMs,
    ...hosts[0]!,
    vhost,
    username: username ?? 'guest',
    password: password ?? 'guest',
    tls: tlsOptions(parsed, scheme === 'amqps'),
    shown,
  }
}
