import type { Client } from 'pg'
import { HoldfastError } from '../../errors/holdfast-error.ts'
import { backoffMs, pause, within } from '../broker/wait.ts'

/** What a {@link BellConnection} works with. */
export interface BellConnectionParts {
  /** Makes a connection, not yet connected, whose queries have a time-out. */
  connect(): Client
  /** What is to be heard, at the moment. */
  channels(): readonly string[]
  onNotification(channel: string, payload: string): void
  /** Everything is heard from now on. `hasMissed`: what was told before may not have been, since an attempt or a connection failed. */
  onUp(hasMissed: boolean): void
  onDown(error: Error): void
  readonly shown: string
}

/** A connection that is silent for longer is asked whether it stands: notifications come rarely, and a black hole says nothing. */
const PING_EVERY_MS = 5000
/** For the server to take leave. */
const END_MS = 500

/**
 * The one connection by which a process rings and hears. It comes back by itself, with jitter. Stages:
 *
 *     connecting → listening → live → lost → waiting → connecting …
 *
 * 1. It is live only once every channel is listened to; then `onUp`.
 * 2. A statement that is late, and a ping without an answer, end it: the next one is made anew.
 */
export class BellConnection {
  readonly #parts: BellConnectionParts
  readonly #closing = new AbortController()
  readonly #running: Promise<void>
  readonly #tried = Promise.withResolvers<void>()
  #live: Client | undefined
  #lastError: Error | undefined

  constructor(parts: BellConnectionParts) {
    this.#parts = parts
    this.#running = this.#run()
  }

  /** Resolves when the first attempt has ended, whichever way. */
  get tried(): Promise<void> {
    return this.#tried.promise
  }

  /** Hears one more channel, at the latest from the next `onUp`. */
  async listen(channel: string): Promise<void> {
    await this.#tried.promise
    // A connection that breaks meanwhile listens to all when it is back.
    await this.#live?.query(`listen "${channel}"`).catch(this.#lose)
  }
  /** Hears one channel less. */
  async unlisten(channel: string): Promise<void> {
    await this.#live?.query(`unlisten "${channel}"`).catch(this.#lose)
  }

  /**
   * Tells channels, in one transaction. Waits for the first attempt to connect, and for no other.
   * @throws {HoldfastError} `backend_failed` where there is no connection; the driver's error where it broke.
   */
  async notify(channels: readonly string[], payloads: readonly string[]): Promise<void> {
    await this.#tried.promise
    const live = this.#live
    if (live === undefined)
      throw new HoldfastError('backend_failed', `There is no connection to ${this.#parts.shown}.`, {
        cause: this.#lastError,
      })
    try {
      await live.query({
        name: 'hf_notify',
        text: 'select pg_notify(b.channel, b.payload) from unnest($1::text[], $2::text[]) as b (channel, payload)',
        values: [channels, payloads],
      })
    } catch (error) {
      this.#lose(error as Error)
      throw error
    }
  }

  async close(): Promise<void> {
    this.#closing.abort()
    await this.#running
  }

  /** Ends the present connection; {@link #run} makes the next. */
  readonly #lose = (error: Error): void => {
    this.#lastError = error
    this.#live?.emit('end')
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing
    for (let attempt = 0; !signal.aborted; attempt++) {
      const client = this.#parts.connect()
      let failure: Error | undefined
      client.on('error', (error) => (failure = error))
      client.on('notification', ({ channel, payload }) => this.#parts.onNotification(channel, payload ?? ''))
      try {
        await this.#establish(client, attempt > 0 || this.#lastError !== undefined)
        attempt = 0
        await this.#watch(client, signal)
      } catch (error) {
        failure ??= error as Error
      }
      this.#live = undefined
      client.removeAllListeners('notification')
      if (!signal.aborted) {
        this.#lastError = failure ?? this.#lastError ?? new Error('The connection was closed.')
        this.#parts.onDown(this.#lastError)
      }
      this.#tried.resolve()
      await end(client)
      await pause(backoffMs(attempt), signal)
    }
  }

  async #establish(client: Client, hasMissed: boolean): Promise<void> {
    await client.connect()
    const channels = this.#parts.channels()
    // No name of ours has a quote in it.
    if (channels.length > 0) await client.query(channels.map((channel) => `listen "${channel}"`).join('; '))
    this.#live = client
    this.#tried.resolve()
    // One that came while the others were listened to.
    for (const channel of this.#parts.channels()) if (!channels.includes(channel)) await this.listen(channel)
    this.#parts.onUp(hasMissed)
  }

  /** Resolves when the connection is lost, or is to be closed. */
  async #watch(client: Client, signal: AbortSignal): Promise<void> {
    const over = new AbortController()
    const onEnd = (): void => over.abort()
    client.on('end', onEnd)
    signal.addEventListener('abort', onEnd)
    if (signal.aborted) onEnd()
    try {
      while (!over.signal.aborted) {
        await pause(PING_EVERY_MS * (0.75 + Math.random() / 2), over.signal)
        if (!over.signal.aborted) await client.query('select')
      }
    } finally {
      signal.removeEventListener('abort', onEnd)
    }
  }
}

/** Ends a connection in whatever state it is: a server that does not answer holds nothing up. */
async function end(client: Client): Promise<void> {
  const { stream } = (client as unknown as { connection: { stream: { destroy(): void } } }).connection
  try {
    await within(END_MS, 'The end of the connection', client.end())
  } catch {
    // It is lost; the server notices by itself.
  } finally {
    stream.destroy()
  }
}
