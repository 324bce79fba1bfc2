import {
  COMMON_OPTIONS,
  commonOptions,
  prefixOf,
  readQueueUrl,
  TLS_OPTIONS,
  tlsOptions,
  type CommonOptions,
} from '../broker/url.ts'

/** A RabbitMQ broker, as its URL names it. */
export interface RabbitmqAddress extends CommonOptions {
  readonly host: string
  readonly port: number
  readonly vhost: string
  readonly username: string
  readonly password: string
  readonly tls: { readonly ca?: Buffer; readonly cert?: Buffer; readonly key?: Buffer } | undefined
  /** Starts the names of queues. */
  readonly prefix: string
  /** So many bells of one queue may wait; the next are refused, since whoever listens looks into the store anyway. */
  readonly maxLength: number
  readonly shown: string
}

/** Whether a URL asks for this broker. */
export const isRabbitmqUrl = (url: string): boolean => /^amqps?:\/\//.test(url)

/**
 * Reads `amqp://[user:password@]host[:port][/vhost][?options]`, or `amqps`, over TLS.
 * @throws {HoldfastError} `invalid_option` that says what is wrong.
 */
export function parseRabbitmqUrl(url: string): RabbitmqAddress {
  const parsed = readQueueUrl(url, {
    schemes: ['amqp', 'amqps'],
    example: 'amqp://user:password@host:port/vhost',
    defaultPort: (scheme) => (scheme === 'amqps' ? 5671 : 5672),
    optionNames: ['prefix', 'maxLength', ...COMMON_OPTIONS, ...TLS_OPTIONS],
  })
  const { scheme, hosts, path, options, shown, fail } = parsed
  if (hosts.length > 1) fail('names several hosts: name the load balancer of the cluster.')
  return {
    ...commonOptions(options),
    ...hosts[0]!,
    vhost: path === undefined || path === '' ? '/' : path,
    username: parsed.username ?? 'guest',
    password: parsed.password ?? 'guest',
    tls: tlsOptions(parsed, scheme === 'amqps'),
    prefix: prefixOf(options.text('prefix'), fail),
    maxLength: options.number('maxLength', 1, 10_000_000) ?? 100_000,
    shown,
  }
}
