import {
  commonOptions,
  prefixOf,
  readQueueUrl,
  TLS_OPTIONS,
  tlsOptions,
  type CommonOptions,
  type QueueUrl,
} from '../broker/url.ts'

/** A Kafka cluster, as its URL names it. */
export interface KafkaCluster extends Omit<CommonOptions, 'maxDeliveries'> {
  /** Some of its brokers, as `host:port`. */
  readonly brokers: readonly string[]
  readonly sasl: { readonly mechanism: Mechanism; readonly username: string; readonly password: string } | undefined
  readonly tls: { readonly ca?: Buffer; readonly cert?: Buffer; readonly key?: Buffer } | undefined
  /** After so long without a heartbeat a listener's partitions go to others. */
  readonly sessionTimeoutMs: number
  readonly shown: string
}

/** Task queues on Kafka. */
export interface KafkaAddress extends KafkaCluster {
  /** Starts the names of topics and groups. */
  readonly topic: string
  /** So often a message comes, before it becomes a dead letter. */
  readonly maxDeliveries: number
  /** Of each topic: at most so many listeners of one queue hear bells. `undefined`: 8 where a topic is created, else what there is. */
  readonly partitions: number | undefined
  /** Of each topic that is created; `undefined`: the cluster's default. */
  readonly replicas: number | undefined
  /** So long bells are kept. `undefined`: an hour where a topic is created, else what there is. */
  readonly retentionMs: number | undefined
}

/** One topic of the user's own. */
export interface KafkaSourceAddress extends KafkaCluster {
  readonly topic: string
  /** Consumer group; `undefined`: one for each trigger. */
  readonly group: string | undefined
  /** Topic for messages that are not to be acted on; `undefined`: they are passed over. */
  readonly dead: string | undefined
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
  const own = ['partitions', 'replicas', 'retentionMs', 'maxDeliveries']
  const { path, options, fail, cluster } = read(url, own)
  return {
    ...cluster,
    topic: prefixOf(path === '' ? undefined : path, fail),
    maxDeliveries: commonOptions(options).maxDeliveries,
    partitions: options.number('partitions', 1, 1000),
    replicas: options.number('replicas', 1, 100),
    retentionMs: options.number('retentionMs', 60_000, 7 * 86_400_000),
  }
}

/** Names of topics (Kafka, `Topic.java`); groups are held to the same. */
const TOPIC = /^(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}$/

/**
 * Reads `kafka://[user:password@]host[:port],…/topic[?options]`, or `kafkas`, over TLS.
 * @throws {HoldfastError} `invalid_option` that says what is wrong.
 */
export function parseKafkaSourceUrl(url: string): KafkaSourceAddress {
  const { path: topic = '', options, fail, cluster } = read(url, ['group', 'dead'])
  const [group, dead] = [options.text('group'), options.text('dead')]
  for (const [what, name = 'x'] of [['topic', topic] as const, ['group', group] as const, ['topic', dead] as const])
    if (!TOPIC.test(name))
      fail(`names the ${what} ${JSON.stringify(name)}; a name is 1 to 249 letters, digits, ".", "_" and "-".`)
  return { ...cluster, topic, group, dead }
}

/** What URLs of both kinds say. */
function read(url: string, own: readonly string[]): QueueUrl & { readonly cluster: KafkaCluster } {
  const shared = ['sessionTimeoutMs', 'mechanism', 'connectTimeoutMs', 'commandTimeoutMs']
  const parsed = readQueueUrl(url, {
    schemes: ['kafka', 'kafkas'],
    example: 'kafka://user:password@host:port,host:port/topic',
    defaultPort: () => 9092,
    optionNames: [...own, ...shared, ...TLS_OPTIONS],
  })
  const { scheme, hosts, username, password, options, shown, fail } = parsed
  const mechanism = options.word('mechanism', MECHANISMS)
  if (mechanism !== undefined && username === undefined) fail('has the option mechanism, and no user.')
  const { connectTimeoutMs, commandTimeoutMs } = commonOptions(options)
  return {
    ...parsed,
    cluster: {
      connectTimeoutMs,
      commandTimeoutMs,
      brokers: hosts.map(({ host, port }) => `${host.includes(':') ? `[${host}]` : host}:${port}`),
      sasl: username === undefined ? undefined : { mechanism: mechanism ?? 'PLAIN', username, password: password! },
      tls: tlsOptions(parsed, scheme === 'kafkas'),
      sessionTimeoutMs: options.number('sessionTimeoutMs', 1000, 300_000) ?? 10_000,
      shown,
    },
  }
}
