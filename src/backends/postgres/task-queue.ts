import { createHash } from 'node:crypto'
import { HoldfastError } from '../../errors/holdfast-error.ts'
import type { QueueListener, TaskQueue } from '../../ports/task-queue.ts'
import { closedError, toQueueError, type Bell } from '../broker/bell.ts'
import { Presence, type QueueEvents } from '../broker/events.ts'
import { BellConnection } from './bell-connection.ts'
import { BellListener } from './bell-listener.ts'
import { loadClients, type ClientFactory } from './client.ts'
import { parsePostgresUrl, type PostgresAddress } from './url.ts'

/** Rings that are not confirmed yet. What comes on top is refused: the store rings again. */
const MAX_RINGS = 10_000
/** Ids of one message, which has 8,000 bytes at most. */
const IDS_PER_MESSAGE = 100
/** Ids are hints: with more than these of one queue, further ones are left out. */
const MAX_IDS = 1000
/** Between two transactions that ring: each takes a lock of the whole server when it commits. */
const GAP_MS = 2

/**
 * Opens the bell of the task store that a Postgres URL names. Does not wait for the server: one that is away may come back.
 * @param options.maxDeliveries so often a bell comes whose listener rejects; then it is dropped. Default 10
 * @throws {HoldfastError} `invalid_option` for a malformed URL, or where the package `pg` is not installed.
 */
export async function openPostgresQueue(
  url: string,
  events: QueueEvents,
  { maxDeliveries = 10 }: { maxDeliveries?: number } = {},
): Promise<TaskQueue> {
  const address = parsePostgresUrl(url)
  return new PostgresTaskQueue(await loadClients(address), address, events, maxDeliveries)
}

interface Ringing {
  readonly ids: Set<string>
  readonly waiting: { resolve(): void; reject(error: unknown): void }[]
}

/**
 * Bells by `NOTIFY`: they reach every process that listens at that moment, and nobody later, so workers look into the store too.
 *
 * 1. Rings go out at once where none are under way; else together, with those of other queues, one transaction after the other.
 * 2. A listener hears a bell without ids after each time in which it may have missed one.
 */
class PostgresTaskQueue implements TaskQueue {
  readonly #address: PostgresAddress
  readonly #clients: ClientFactory
  readonly #presence: Presence
  readonly #maxDeliveries: number
  readonly #listeners = new Set<BellListener>()
  readonly #names = new Map<string, string>()
  #ringing = new Map<string, Ringing>()
  #rings = 0
  #isSending = false
  #connection: BellConnection | undefined
  #isClosed = false

  constructor(clients: ClientFactory, address: PostgresAddress, events: QueueEvents, maxDeliveries: number) {
    this.#clients = clients
    this.#address = address
    this.#presence = new Presence(events)
    this.#maxDeliveries = maxDeliveries
  }

  /** There is nothing to create: a channel is there as long as somebody listens. */
  async ensureTopology(): Promise<void> {
    this.#check()
  }

  async ring(queue: string, taskIds: readonly string[]): Promise<void> {
    this.#check()
    if (this.#rings >= MAX_RINGS)
      throw new HoldfastError('backend_failed', `Postgres has ${MAX_RINGS} rings to confirm already.`)
    this.#rings++
    const ringing = this.#ringing.get(queue) ?? { ids: new Set(), waiting: [] }
    this.#ringing.set(queue, ringing)
    for (const id of taskIds) if (ringing.ids.size < MAX_IDS) ringing.ids.add(id)
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    ringing.waiting.push({ resolve, reject })
    if (!this.#isSending) void this.#send()
    try {
      await promise
    } catch (error) {
      throw toQueueError('Postgres', 'a ring', error)
    } finally {
      this.#rings--
    }
  }

  async listen(
    queues: readonly string[],
    onRing: (bell: Bell) => Promise<void>,
    { credits }: { readonly credits: number },
  ): Promise<QueueListener> {
    this.#check()
    const listener = new BellListener(queues, onRing, credits, {
      maxDeliveries: this.#maxDeliveries,
      onRefused: this.#presence.refused,
      onClose: () => this.#leave(listener),
    })
    this.#listeners.add(listener)
    for (const queue of queues) this.#names.set(this.#channel(queue), queue)
    const isNew = this.#connection === undefined
    const connection = this.#connect()
    if (isNew) await connection.tried
    else await Promise.all(queues.map((queue) => connection.listen(this.#channel(queue))))
    return listener
  }

  /** What waits is in the store: {@link TaskAdmin.backlog}. */
  async depth(): Promise<undefined> {
    this.#check()
    return undefined
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    await Promise.all([...this.#listeners].map((listener) => listener.close()))
    await this.#connection?.close()
  }

  /** Sends what has gathered until nothing has. */
  async #send(): Promise<void> {
    this.#isSending = true
    while (this.#ringing.size > 0) {
      const batch = this.#ringing
      this.#ringing = new Map()
      const channels: string[] = []
      const payloads: string[] = []
      for (const [queue, { ids }] of batch) {
        const all = [...ids]
        for (let from = 0; from === 0 || from < all.length; from += IDS_PER_MESSAGE) {
          channels.push(this.#channel(queue))
          payloads.push(all.slice(from, from + IDS_PER_MESSAGE).join())
        }
      }
      const waiting = [...batch.values()].flatMap((ringing) => ringing.waiting)
      try {
        await this.#connect().notify(channels, payloads)
        for (const { resolve } of waiting) resolve()
      } catch (error) {
        for (const { reject } of waiting) reject(error)
      }
      await new Promise((resolve) => setTimeout(resolve, GAP_MS))
    }
    this.#isSending = false
  }

  #connect(): BellConnection {
    return (this.#connection ??= new BellConnection({
      connect: () => this.#clients.bell(),
      channels: () => [...this.#names.keys()],
      onNotification: (channel, payload) => {
        const queue = this.#names.get(channel)
        if (queue === undefined) return
        const ids = payload === '' ? [] : payload.split(',')
        for (const listener of this.#listeners) listener.hear(queue, ids)
      },
      onUp: (hasMissed) => {
        this.#presence.up()
        if (hasMissed) for (const listener of this.#listeners) listener.hearAll()
      },
      onDown: (error) => this.#presence.down(error),
      shown: this.#address.shown,
    }))
  }

  async #leave(listener: BellListener): Promise<void> {
    this.#listeners.delete(listener)
    for (const queue of listener.queues) {
      if ([...this.#listeners].some(({ queues }) => queues.includes(queue))) continue
      const channel = this.#channel(queue)
      this.#names.delete(channel)
      if (!this.#isClosed) await this.#connection?.unlisten(channel)
    }
  }

  /** Of one length, whatever the queue is called; deployments that share a database have schemas of their own. */
  #channel(queue: string): string {
    const { schema } = this.#address.options
    return `hf_${createHash('sha256')
      .update(JSON.stringify([schema, queue]))
      .digest('base64url')}`
  }

  #check(): void {
    if (this.#isClosed) throw closedError()
  }
}
