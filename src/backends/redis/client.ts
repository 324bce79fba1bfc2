import { readFileSync } from 'node:fs'
import type { Cluster, Redis, RedisOptions } from 'ioredis'
import { HoldfastError } from '../../errors/holdfast-error.ts'
import type { RedisAddress } from './url.ts'

/** What carries commands: one connection, or one to each node of a cluster. */
export type Client = Redis | Cluster
/** Makes connections as a {@link RedisAddress} says. */
export interface ClientFactory {
  readonly address: RedisAddress
  /** A client for commands, not yet connected. It connects again by itself; what was sent when it broke is never sent again. */
  commands(): Client
  /**
   * One connection, for the bus, not yet connected; it does not connect again. Of a cluster it leads to the node whose turn it is.
   * @param nodes what is known of the cluster's nodes at present.
   */
  single(nodes: readonly Host[]): Redis
}
type Host = RedisAddress['hosts'][number]
type Options = RedisOptions & { replyMapping: 'legacy' }

/** Between half of a doubling time and all of it, at most a second: nodes that lost one server do not come back in step. */
export const backoffMs = (attempt: number): number => Math.min(1000, 50 * 2 ** attempt) * (0.5 + Math.random() / 2)

/**
 * Loads the client library.
 * @throws {HoldfastError} `invalid_option` where the package is not installed, or a file of certificates can't be read.
 */
export async function loadClients(address: RedisAddress): Promise<ClientFactory> {
  let library: Pick<typeof import('ioredis'), 'Cluster' | 'Redis'>
  try {
    library = await import('ioredis')
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw cause
    throw new HoldfastError(
      'invalid_option',
      `The state URL ${address.shown} needs the package ioredis, which is not installed: npm install ioredis@6`,
      { cause },
    )
  }
  const { Cluster, Redis } = library
  const { topology, hosts, masterName, options } = address
  const common = commonOptions(address)
  const withTimeouts: Options = {
    ...common,
    commandTimeout: options.commandTimeoutMs,
    // A connection on which commands go unanswered is given up: the network may have dropped it without a word.
    socketTimeout: options.commandTimeoutMs,
    retryStrategy: backoffMs,
  }
  const sentinel = {
    sentinels: [...hosts],
    name: masterName,
    ...(options.sentinelUsername === undefined ? {} : { sentinelUsername: options.sentinelUsername }),
    ...(options.sentinelPassword === undefined ? {} : { sentinelPassword: options.sentinelPassword }),
    sentinelCommandTimeout: options.commandTimeoutMs,
    ...(common.tls === undefined ? {} : { enableTLSForSentinelMode: true, sentinelTLS: common.tls }),
  }
  let turn = 0
  return {
    address,
    commands() {
      if (topology === 'standalone') return new Redis({ ...hosts[0]!, ...withTimeouts })
      if (topology === 'sentinel')
        return new Redis({
          ...sentinel,
          ...withTimeouts,
          sentinelRetryStrategy: backoffMs,
          // A master that became a replica: ask the Sentinels again.
          reconnectOnError: (error: Error) => error.message.startsWith('READONLY'),
        })
      return new Cluster([...hosts], {
        lazyConnect: true,
        // A command may wait for its node's connection to be made, within its time-out. Without this, all but the first
        // would fail. The store sends nothing while the cluster as a whole is away.
        enableOfflineQueue: true,
        clusterRetryStrategy: backoffMs,
        retryDelayOnFailover: 0, // else what was sent when a connection broke would be sent again
        slotsRefreshTimeout: options.commandTimeoutMs,
        redisOptions: withTimeouts,
      })
    },
    single(nodes) {
      if (topology === 'sentinel')
        return new Redis({ ...sentinel, ...common, retryStrategy: () => null, sentinelRetryStrategy: () => null })
      const known = topology === 'cluster' && nodes.length > 0 ? nodes : hosts
      return new Redis({ ...known[turn++ % known.length]!, ...common, retryStrategy: () => null })
    },
  }
}

function commonOptions({ username, password, db, isTls, options, shown }: RedisAddress): Options {
  const read = (file: string, name: string): Buffer => {
    try {
      return readFileSync(file)
    } catch (cause) {
      throw new HoldfastError(
        'invalid_option',
        `The state URL ${shown} names the file ${JSON.stringify(file)} as ${name}, which can't be read (${(cause as NodeJS.ErrnoException).code}).`,
        { cause },
      )
    }
  }
  return {
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    db,
    replyMapping: 'legacy',
    lazyConnect: true,
    connectTimeout: options.connectTimeoutMs,
    disconnectTimeout: 100,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    autoResubscribe: false,
    maxRetriesPerRequest: 0,
    disableClientInfo: true, // KeyDB does not know CLIENT SETINFO
    ...(isTls
      ? {
          tls: {
            ...(options.ca === undefined ? {} : { ca: read(options.ca, 'ca') }),
            ...(options.cert === undefined ? {} : { cert: read(options.cert, 'cert') }),
            ...(options.key === undefined ? {} : { key: read(options.key, 'key') }),
          },
        }
      : {}),
  }
}

/** Ends a client; resolves when its sockets have gone. */
export async function endClient(client: Client): Promise<void> {
  const hasSocket = ['connecting', 'connect', 'ready'].includes(client.status)
  // Not `once` of node:events: it would reject by an `error` on the way.
  const ended = new Promise<void>((resolve) => client.once('end', () => resolve()))
  client.disconnect()
  if (hasSocket) await ended
}
