import {
  COMMON_OPTIONS,
  commonOptions,
  prefixOf,
  readQueueUrl,
  TLS_OPTIONS,
  tlsOptions,
  type CommonOptions,
} from '../broker/url.ts'

/** A Kafka cluster, as its URL names it. */
export interface KafkaAddress extends CommonOptions {
  /** Some of its brokers, as `host:port`. */
  readonly brokers: readonly string[]
  /** Starts the names of topics and groups. */
  readonly topic: string
  readonly sasl: { readonly mechanism: Mechanism; readonly username: string; readonly password: string } | undefined
  readonly tls: { readonly ca?: Buffer; readonly cert?: Buffer; readonly key?: Buffer } | undefined
  /** Of each topic: at most so many listeners of one queue hear bells. `undefined`: 8 where a topic is created, else what there is. */
  readonly partitions: number | undefined
  /** Of each topic that is created; `undefined`: the cluster's default. */
  readonly replicas: number | undefined
  /** So long bells are kept. `undefined`: an hour where a topic is created, else what there is. */
  readonly retentionMs: number | undefined
  /** After so long without a heartbeat a listener's partitions go to others. */
  readonly sessionTimeoutMs: number
  readonly shown: string
}

const MECHANISMS = ['PLAIN', 'SCRAM-SHA-256', 'SCRAM-SHA-512'] as const
type Mechanism = (typeof MECHANISMS)[number]

/** Whether a URL asks for this broker. */
export const isKafkaUrl = (url: string): boolean => /^kafkas?:\/\//.test(url)

/**
 * Reads `kafka://[user:password@]host[:port],…[/topic][?options]`, or `kafkas`, over TLS.
 * @throws {HoldfastError} `invalid_option` that says what is wrong.
 */
export function parseKafkaUrl(url: string): KafkaAddress {
  const own = ['partitions', 'replicas', 'retentionMs', 'sessionTimeoutMs', 'mechanism']
  const parsed = readQueueUrl(url, {
    schemes: ['kafka', 'kafkas'],
    example: 'kafka://user:password@host:port,host:port/topic',
    defaultPort: () => 9092,
    optionNames: [...own, ...COMMON_OPTIONS, ...TLS_OPTIONS],
  })
  const { scheme, hosts, username, password, path, options, shown, fail } = parsed
  const mechanism = options.word('mechanism', MECHANISMS)
  if (mechanism !== undefined && username === undefined) fail('has the option mechanism, and no user.')
  return {
    ...commonOptions(options),
    brokers: hosts.map(({ host, port }) => `${host.includes(':') ? `[${host}]` : host}:${port}`),
    topic: prefixOf(path === '' ? undefined : path, fail),
    sasl: username === undefined ? undefined : { mechanism: mechanism ?? 'PLAIN', username, password: password! },
    tls: tlsOptions(parsed, scheme === 'kafkas'),
    partitions: options.number('partitions', 1, 1000),
    replicas: options.number('replicas', 1, 100),
    retentionMs: options.number('retentionMs', 60_000, 7 * 86_400_000),
    sessionTimeoutMs: options.number('sessionTimeoutMs', 1000, 300_000) ?? 10_000,
    shown,
  }
}
