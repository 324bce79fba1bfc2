import { once } from 'node:events'
import type { Redis } from 'ioredis'
import { HoldfastError } from '../../errors/holdfast-error.ts'
import { backoffMs, endClient } from './client.ts'

/** Makes a connection that does not connect again by itself, not yet connected. */
export type Connect = () => Redis

/** What {@link BusConnection} works for. */
export interface BusConnectionOptions {
  readonly connect: Connect
  /** For the server to answer to a ping, and to the subscriptions of a new connection. */
  readonly timeoutMs: number
  /** Full names of the channels that a new connection must listen on. */
  channels(): readonly string[]
  onMessage(channel: string, message: Buffer): void
  /** A new connection listens on the channels, where an earlier one was lost. */
  onRestored(): void
  /** About once a second while connected, the first time at once. */
  onBeat(): void
}

const BEAT_MS = 1000
const CHANNELS_AT_ONCE = 1000

/**
 * Keeps one connection for messages. Stages, over and over until it is closed:
 *
 *     connecting → subscribing → live → lost → (waits, with jitter)
 *
 * Live it pings at each beat, since a network that drops packets ends no connection: one whose ping went unanswered for
 * `timeoutMs`, counted in beats (so that a blocked event loop, which could not read the answer, does not count), is lost.
 * From a lost connection nothing is taken over: what was sent on it has failed, and messages that it may still bring are ignored.
 */
export class BusConnection {
  readonly #options: BusConnectionOptions
  readonly #closing = new AbortController()
  readonly #running: Promise<void>
  #live: Redis | undefined
  #settleFirst: { resolve: () => void; reject: (error: unknown) => void } | undefined
  /** Resolves with the first connection; rejects when the first attempt fails. */
  readonly connected: Promise<void>

  constructor(options: BusConnectionOptions) {
    this.#options = options
    this.connected = new Promise((resolve, reject) => (this.#settleFirst = { resolve, reject }))
    this.connected.catch(() => undefined) // whoever waits for it is told
    this.#running = this.#run()
  }

  /** The live connection. @throws {HoldfastError} `backend_failed` while there is none. */
  get client(): Redis {
    if (this.#live === undefined) throw new HoldfastError('backend_failed', 'The bus has lost its connection to Redis.')
    return this.#live
  }

  /** Ends the connection; resolves when nothing is open any more. */
  async close(): Promise<void> {
    this.#closing.abort()
    await this.#running
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing
    let wasLive = false
    for (let attempt = 0; !signal.aborted; attempt++) {
      const client = this.#options.connect()
      let failure: unknown
      client.on('error', (error) => (failure = error))
      try {
        await this.#establish(client, signal)
        this.#live = client
        attempt = 0
        if (wasLive) this.#options.onRestored()
        wasLive = true
        this.#settleFirst?.resolve()
        await this.#watch(client, signal)
      } catch (error) {
        this.#settleFirst?.reject(failure ?? error)
      }
      this.#settleFirst = undefined
      this.#live = undefined
      client.removeAllListeners('messageBuffer')
      await endClient(client)
      if (!signal.aborted) await pause(backoffMs(attempt), signal)
    }
    this.#settleFirst?.reject(new HoldfastError('closed', 'The event bus was closed.'))
  }

  /** Connects, and subscribes to everything at once. */
  async #establish(client: Redis, signal: AbortSignal): Promise<void> {
    client.on('messageBuffer', (channel: Buffer, message: Buffer) =>
      this.#options.onMessage(channel.toString(), message),
    )
    const { timeoutMs } = this.#options
    // The client's own `connectTimeout` ends when the socket stands: a server that then says nothing would be waited for for ever.
    await within((client.options.connectTimeout ?? 0) + timeoutMs, signal, client.connect())
    const channels = this.#options.channels()
    const subscribed: Promise<unknown>[] = []
    for (let from = 0; from < channels.length; from += CHANNELS_AT_ONCE)
      subscribed.push(client.subscribe(...channels.slice(from, from + CHANNELS_AT_ONCE)))
    await within(timeoutMs, signal, Promise.all(subscribed))
    signal.throwIfAborted() // closed meanwhile: an event that has been would not be heard any more
  }

  /** Resolves when the connection is lost, or the bus is closed. */
  #watch(client: Redis, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const { timeoutMs, onBeat } = this.#options
      const patience = Math.max(1, Math.ceil(timeoutMs / BEAT_MS))
      let unanswered = 0
      const beat = (): void => {
        if (unanswered > patience) return end()
        if (unanswered++ === 0)
          client.ping().then(
            () => (unanswered = 0),
            () => undefined, // a lost connection is told by its end
          )
        onBeat()
      }
      const timer = setInterval(beat, BEAT_MS)
      const end = (): void => {
        clearInterval(timer)
        client.off('end', end)
        signal.removeEventListener('abort', end)
        resolve()
      }
      client.once('end', end)
      signal.addEventListener('abort', end, { once: true })
      beat()
    })
  }
}

/** @throws what `work` throws, or the reason for which it was not waited for any longer. */
async function within(timeoutMs: number, signal: AbortSignal, work: Promise<unknown>): Promise<void> {
  const timeout = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)])
  timeout.throwIfAborted()
  await Promise.race([work, once(timeout, 'abort').then(() => timeout.throwIfAborted())])
}

/** A wait that ends early, and quietly, with the signal. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', end)
      resolve()
    }
    const timer = setTimeout(end, ms)
    signal.addEventListener('abort', end, { once: true })
  })
}
