/** Servers of stores and brokers for the bench, as the tests start them: fsync on, what is acknowledged is on the disk. */
import { randomUUID } from 'node:crypto'
import { startDynamodb } from '../../test/servers/dynamodb.ts'
import { startElasticmq } from '../../test/servers/elasticmq.ts'
import { startKafka } from '../../test/servers/kafka.ts'
import { startPostgres } from '../../test/servers/postgres.ts'
import type { PostgresServer } from '../../test/servers/postgres.ts'
import { startRabbitmq } from '../../test/servers/rabbitmq.ts'

/** A server that gives each caller a place of its own. */
export interface Home extends AsyncDisposable {
  /** URL of an empty store, or of a broker. */
  empty(): Promise<string>
}

/** Stores by their names. */
export const storeHomes: Readonly<Record<string, (scratchDir: string) => Promise<Home>>> = {
  postgres: async () => postgresHome(await startPostgres()),
  sqlite: (scratchDir) =>
    Promise.resolve({
      empty: () => Promise.resolve(`sqlite:${scratchDir}/${randomUUID()}/tasks.db`),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    }),
  dynamodb: async () => {
    process.env['AWS_ACCESS_KEY_ID'] ??= 'bench'
    process.env['AWS_SECRET_ACCESS_KEY'] ??= 'bench'
    const server = await startDynamodb()
    return {
      empty: () => Promise.resolve(server.url.replace('dynamodb://', `dynamodb://bench-${randomUUID()}`)),
      [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
    }
  },
}

/** Brokers by their names; `store` has none: the store itself rings. */
export const queueHomes: Readonly<Record<string, (() => Promise<Home>) | undefined>> = {
  store: undefined,
  rabbitmq: async () => {
    const server = await startRabbitmq()
    return brokerHome(server, (prefix) => `${server.url}?prefix=${prefix}`)
  },
  kafka: async () => {
    const server = await startKafka()
    return brokerHome(server, (prefix) => `${server.url}/${prefix}`)
  },
  sqs: async () => {
    process.env['AWS_ACCESS_KEY_ID'] ??= 'bench'
    process.env['AWS_SECRET_ACCESS_KEY'] ??= 'bench'
    const server = await startElasticmq()
    return brokerHome(server, (prefix) => server.url.replace('sqs://', `sqs://${prefix}`))
  },
}

/** A database for each caller. */
export function postgresHome(server: PostgresServer): Home {
  let count = 0
  return {
    async empty() {
      const name = `bench_${count++}`
      await server.query(`create database ${name}`)
      return server.url.replace(/postgres$/, name)
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
}

/** Names of a broker's queues and topics begin with something else each time. */
function brokerHome(server: AsyncDisposable, urlOf: (prefix: string) => string): Home {
  return {
    empty: () => Promise.resolve(urlOf(`bench-${randomUUID().slice(0, 8)}`)),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
}
