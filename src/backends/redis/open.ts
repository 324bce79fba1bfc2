import type { Cluster } from 'ioredis'
import { HoldfastError } from '../../errors/holdfast-error.ts'
import { loadClients, type Client } from './client.ts'
import { isMistake, remedyFor, replyCode } from './errors.ts'
import { RedisEventBus } from './event-bus.ts'
import { RedisStateStore } from './state-store.ts'
import { parseRedisUrl, type RedisAddress } from './url.ts'

/** What one URL gives. */
export interface RedisBackends {
  readonly state: RedisStateStore
  readonly bus: RedisEventBus
}

/** What is told of the connection that carries commands. */
export interface RedisEvents {
  /** It stands, the first time or again. */
  onUp(): void
  /** It is lost, or could not be made at the start. Told once for each time that it is away. */
  onDown(error: Error): void
}

const PING_EVERY_MS = 10_000

/**
 * Opens the store and the bus that a Redis URL names. A server that can't be reached is no error, since it may come back: its
 * absence is told to `events`, and the connections go on trying.
 *
 * @throws {HoldfastError} `invalid_option` for a malformed URL, a client that is not installed, and what no waiting mends:
 * a wrong password, a database that does not exist, a certificate that is not trusted, a replica.
 */
export async function openRedis(url: string, events: RedisEvents): Promise<RedisBackends> {
  const address = parseRedisUrl(url)
  const { prefix, commandTimeoutMs, connectTimeoutMs } = address.options
  const clients = await loadClients(address)
  const client = clients.commands()
  const connection = new ConnectionWatch(client, events)
  const state = new RedisStateStore(client, prefix)
  const nodes = (): RedisAddress['hosts'] =>
    client.isCluster
      ? (client as Cluster).nodes('master').map(({ options }) => ({ host: options.host!, port: options.port! }))
      : []
  const bus = new RedisEventBus(`${prefix}${address.db}:`, () => clients.single(nodes()), commandTimeoutMs)
  try {
    await connection.start(connectTimeoutMs + commandTimeoutMs)
    await Promise.all([probe(client, address), bus.connected])
  } catch (error) {
    // A cluster says no more than that no node could be used; the bus, which has one connection, knows why.
    const ofBus = await bus.connected.catch((reason: unknown) => reason)
    const cause = (isMistake(ofBus) ? ofBus : error) as Error
    if (isMistake(cause)) {
      connection.stop()
      await Promise.all([state.close(), bus.close()])
      const reason = remedyFor(cause) || ` ${cause.message}`
      throw new HoldfastError('invalid_option', `The state URL ${address.shown} can't be used.${reason}`, { cause })
    }
    connection.failed(cause)
  }
  return { state, bus }
}

/** Uses the connection as the store will, so that a mistake shows now. */
async function probe(client: Client, { topology, db, options: { prefix } }: RedisAddress): Promise<void> {
  try {
    // The client goes on with database 0 where the right one can't be selected.
    if (topology !== 'cluster') await (client as Exclude<Client, Cluster>).select(db)
    await client.set(`${prefix}probe`, '', 'PX', 1000)
  } catch (error) {
    // A full or loading server is the right one all the same; so is a replica that Sentinel is about to promote.
    const code = replyCode(error)
    if (code === 'READONLY' && topology === 'standalone') throw Object.assign(error as Error, { isMistake: true })
    if (code === 'ERR') throw Object.assign(error as Error, { isMistake: true })
    if (code === undefined || isMistake(error)) throw error
  }
}

/** Tells when a client's connection comes and goes, and keeps what it failed by. */
class ConnectionWatch {
  readonly #client: Client
  readonly #events: RedisEvents
  readonly #ping: NodeJS.Timeout
  #isUp: boolean | undefined
  #lastError: Error | undefined
  /** Says more than the error that follows it: which Sentinel, and that it does not know the master, for instance. */
  #sentinelError: Error | undefined

  constructor(client: Client, events: RedisEvents) {
    this.#client = client
    this.#events = events
    client.on('error', (error: Error) => (this.#lastError = error))
    client.on('node error', (error: Error) => (this.#lastError = error))
    client.on('sentinelError', (error: Error) => (this.#sentinelError = error))
    client.on('ready', this.#up)
    client.on('reconnecting', this.#down) // not told when the client is ended on purpose
    client.on('end', () => this.stop())
    // Firewalls forget quiet connections without a word; that is found out now, not by the next request.
    this.#ping = setInterval(() => {
      if (client.status === 'ready') client.ping().catch(() => undefined) // its failure ends the connection, which is told
    }, PING_EVERY_MS)
    this.#ping.unref()
  }

  /** Connects. @throws the reason for which the first attempt failed. */
  async start(timeoutMs: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    const timeout = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`No connection within ${timeoutMs} ms.`)), timeoutMs)
    })
    try {
      await Promise.race([this.#client.connect(), timeout])
    } catch (error) {
      throw this.#sentinelError ?? this.#lastError ?? error
    } finally {
      clearTimeout(timer)
    }
  }

  /** Something of the start failed although this connection may stand. */
  failed(error: Error): void {
    this.#lastError = error
    this.#down()
  }

  stop(): void {
    clearInterval(this.#ping)
    this.#client.off('ready', this.#up)
    this.#client.off('reconnecting', this.#down)
  }

  readonly #up = (): void => {
    if (this.#isUp === true) return
    this.#isUp = true
    this.#lastError = this.#sentinelError = undefined
    this.#events.onUp()
  }
  readonly #down = (): void => {
    if (this.#isUp === false) return
    this.#isUp = false
    this.#events.onDown(this.#sentinelError ?? this.#lastError ?? new Error('The connection was closed.'))
  }
}
