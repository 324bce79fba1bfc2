// What can be asked for by name: programs to install, and servers that a run shares.
import { dynamodbSource, startDynamodb } from './dynamodb.ts'
import { elasticmqSource, startElasticmq } from './elasticmq.ts'
import { haproxySource } from './haproxy.ts'
import { kafkaSource, startKafka } from './kafka.ts'
import { postgresSource, startPostgres } from './postgres.ts'
import type { ProgramSource } from './programs.ts'
import { rabbitmqSource, startRabbitmq } from './rabbitmq.ts'
import { redisSource, startRedis, valkeySource } from './redis.ts'
import { startCluster } from './redis-cluster.ts'
import { startSentinel } from './redis-sentinel.ts'
import { toxiproxySource } from './toxiproxy.ts'
import { startVersitygw, versitygwSource } from './versitygw.ts'

/** Programs that servers need. */
export const PROGRAMS = {
  redis: redisSource,
  valkey: valkeySource,
  postgres: postgresSource,
  toxiproxy: toxiproxySource,
  haproxy: haproxySource,
  rabbitmq: rabbitmqSource,
  kafka: kafkaSource,
  elasticmq: elasticmqSource,
  dynamodb: dynamodbSource,
  versitygw: versitygwSource,
} satisfies Record<string, ProgramSource>
/** Name of a program. */
export type ProgramName = keyof typeof PROGRAMS

/** How a client reaches a server. */
export interface Reachable {
  readonly url: string
  /** PEM of the authority that signed its certificate, where it listens by TLS. */
  readonly caFile?: string
}

interface SharedKind {
  /** Variable that names a server of the user's own, used instead. */
  readonly variable: string
  start(): Promise<Reachable & AsyncDisposable>
}

/** Servers that the files of a run share. */
export const SHARED = {
  redis: { variable: 'TEST_REDIS_URL', start: () => startRedis() },
  'redis-tls': { variable: 'TEST_REDIS_TLS_URL', start: () => startRedis({ tls: true }) },
  'redis-sentinel': { variable: 'TEST_REDIS_SENTINEL_URL', start: () => startSentinel() },
  'redis-cluster': { variable: 'TEST_REDIS_CLUSTER_URL', start: () => startCluster() },
  postgres: { variable: 'TEST_POSTGRES_URL', start: () => startPostgres() },
  valkey: { variable: 'TEST_VALKEY_URL', start: () => startRedis({ flavour: 'valkey' }) },
  'valkey-sentinel': { variable: 'TEST_VALKEY_SENTINEL_URL', start: () => startSentinel({ flavour: 'valkey' }) },
  'valkey-cluster': { variable: 'TEST_VALKEY_CLUSTER_URL', start: () => startCluster({ flavour: 'valkey' }) },
  rabbitmq: { variable: 'TEST_RABBITMQ_URL', start: () => startRabbitmq() },
  kafka: { variable: 'TEST_KAFKA_URL', start: () => startKafka() },
  sqs: { variable: 'TEST_SQS_URL', start: () => startElasticmq() },
  dynamodb: { variable: 'TEST_DYNAMODB_URL', start: () => startDynamodb() },
  s3: { variable: 'TEST_S3_URL', start: () => startVersitygw() },
} satisfies Record<string, SharedKind>
/** Name of a shared server. */
export type SharedName = keyof typeof SHARED

/** The server that a variable names, if it is set. A `TEST_…_CA_FILE` beside it names its authority. */
export function given(name: SharedName): Reachable | undefined {
  const { variable } = SHARED[name]
  const url = process.env[variable]
  if (url === undefined || url === '') return undefined
  const caFile = process.env[variable.replace(/URL$/, 'CA_FILE')]
  return { url, ...(caFile === undefined ? {} : { caFile }) }
}
