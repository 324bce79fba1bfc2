import type { Message, MessagesStream } from '@platformatic/kafka'
import type { QueueListener } from '../../ports/task-queue.ts'
import { Deliveries, type OnPayload } from '../broker/deliveries.ts'
import { backoffMs, pause, within } from '../broker/wait.ts'
import type { BytesConsumer, KafkaClients } from './client.ts'
import { Offsets } from './offsets.ts'
import type { KafkaCluster } from './url.ts'

type BytesStream = MessagesStream<Buffer, Buffer, Buffer, Buffer>

/** What a listener consumes: one topic, as a member of one group. */
export interface Consumption<Payload> {
  readonly topic: string
  readonly groupId: string
  /** So often a message is tried that was rejected; then it is kept aside. */
  readonly maxDeliveries: number
  /** Creates or checks the topic, before each joining of the group. */
  prepare(): Promise<void>
  /** What a message says; `undefined` for one that is not of the kind that is listened to: it is kept aside. */
  read(message: Message): Payload | undefined
  /** Keeps a message aside that is not to be acted on. */
  keep(message: Message, reason: string): Promise<void>
}

/** What a listener tells those that it belongs to. */
export interface ListenerEvents {
  onReady(): void
  onTrouble(error: Error): void
  onRefused(error: unknown): void
  onClose(): void
}

/** Offsets are committed together, at most so often. */
const COMMIT_EVERY_MS = 20
/** After a commit that failed. */
const COMMIT_AGAIN_MS = 1000
/** Read ahead of those under way; small, since another listener could have them. */
const READ_AHEAD = 4

/**
 * One listener: a consumer group's member for each topic, all under the same credits. Kafka brings no message again by itself, so
 * one that was refused is kept here and rung again; if this process dies first, its offset was not committed.
 */
export class KafkaListener<Payload> implements QueueListener {
  readonly #events: ListenerEvents
  readonly #deliveries: Deliveries<Payload>
  readonly #members: readonly Member<Payload>[]
  #isClosed = false

  constructor(
    clients: KafkaClients<KafkaCluster>,
    topics: readonly Consumption<Payload>[],
    onPayload: OnPayload<Payload>,
    credits: number,
    events: ListenerEvents,
  ) {
    this.#events = events
    const flow = (): void => this.#members.forEach((member) => member.flow())
    this.#deliveries = new Deliveries(onPayload, credits, events.onRefused, flow)
    this.#members = topics.map((topic) => new Member(clients, topic, this.#deliveries, events))
  }

  /** Resolves when every member had its first assignment, or its first failure. */
  async started(): Promise<void> {
    await Promise.all(this.#members.map(({ started }) => started))
  }

  pause(): void {
    for (const member of this.#members) member.setPaused(true)
  }

  resume(): void {
    for (const member of this.#members) member.setPaused(false)
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#deliveries.stop()
    this.#events.onClose()
    await Promise.all(this.#members.map((member) => member.close()))
  }
}

/** A member of one group, made anew whenever its stream ends. */
class Member<Payload> {
  readonly started: Promise<void>
  readonly #clients: KafkaClients<KafkaCluster>
  readonly #what: Consumption<Payload>
  readonly #deliveries: Deliveries<Payload>
  readonly #events: ListenerEvents
  readonly #ended = new AbortController()
  readonly #running: Promise<void>
  #hasStarted: () => void = () => undefined
  #consumer: BytesConsumer | undefined
  #stream: BytesStream | undefined
  #isPaused = false

  constructor(
    clients: KafkaClients<KafkaCluster>,
    what: Consumption<Payload>,
    deliveries: Deliveries<Payload>,
    events: ListenerEvents,
  ) {
    this.#clients = clients
    this.#what = what
    this.#deliveries = deliveries
    this.#events = events
    this.started = new Promise((resolve) => (this.#hasStarted = resolve))
    this.#running = this.#run()
  }

  setPaused(isPaused: boolean): void {
    this.#isPaused = isPaused
    this.flow()
  }

  /** Reads while there is a free credit. A stream that is not read stops fetching; its heartbeats go on. */
  flow(): void {
    const stream = this.#stream
    if (stream === undefined) return
    if (this.#isPaused || this.#deliveries.free <= 0) stream.pause()
    else stream.resume()
  }

  /** Ends in order, where the brokers answer; else what still waits for them ends without its connections. */
  async close(): Promise<void> {
    this.#ended.abort()
    const { commandTimeoutMs } = this.#clients.address
    try {
      await within(commandTimeoutMs, 'The end of a listener', this.#running)
    } catch {
      if (this.#consumer !== undefined) await cut(this.#consumer, commandTimeoutMs)
    }
  }

  async #run(): Promise<void> {
    for (let attempt = 0; !this.#ended.signal.aborted; attempt++) {
      const startedMs = performance.now()
      try {
        await this.#session()
      } catch (error) {
        if (!this.#ended.signal.aborted) this.#events.onTrouble(error as Error)
      }
      this.#hasStarted()
      if (performance.now() - startedMs > 60_000) attempt = 0
      await pause(backoffMs(attempt), this.#ended.signal)
    }
  }

  /** From joining the group to the end of the stream. */
  async #session(): Promise<void> {
    await this.#what.prepare()
    const { topic, groupId } = this.#what
    if (this.#ended.signal.aborted) return
    const consumer = (this.#consumer = this.#clients.consumer(groupId))
    const offsets = new Offsets()
    const committer = new Committer(consumer, topic, offsets)
    let stream: BytesStream | undefined
    try {
      consumer.on('consumer:group:join', ({ assignments }) => {
        offsets.keep(assignments?.find((assigned) => assigned.topic === topic)?.partitions ?? [])
      })
      stream = await consumer.consume({
        topics: [topic],
        mode: 'committed',
        fallbackMode: 'earliest', // a new group hears what was sent before it came to be
        autocommit: false,
        highWaterMark: READ_AHEAD,
      })
      if (!this.#ended.signal.aborted) {
        this.#events.onReady()
        this.#hasStarted()
        await this.#consume(stream, offsets, committer)
      }
    } finally {
      this.#stream = undefined
      await committer.end(this.#clients.address.commandTimeoutMs)
      await this.#leave(consumer, stream)
    }
  }

  #consume(stream: BytesStream, offsets: Offsets, committer: Committer): Promise<void> {
    return new Promise((resolve, reject) => {
      const end = (): void => resolve()
      this.#ended.signal.addEventListener('abort', end, { once: true })
      stream.on('error', reject)
      stream.on('close', () => reject(new Error('The stream of messages has ended.')))
      stream.on('data', (message: Message) => {
        if (this.#stream !== stream) return // not committed, so it goes to who comes next
        if (offsets.open(message.partition, message.offset, message.leaderEpoch))
          this.#take(message, offsets, committer)
        this.flow()
      })
      this.#stream = stream
      this.flow()
    })
  }

  #take(message: Message, offsets: Offsets, committer: Committer): void {
    const done = (): void => {
      offsets.close(message.partition, message.offset)
      committer.soon()
    }
    const bury = async (reason: string): Promise<void> => {
      if (await this.#bury(message, reason)) done()
    }
    const payload = this.#what.read(message)
    if (payload === undefined) return void bury('not one of ours')
    const deliver = (attempt: number): void =>
      this.#deliveries.take({
        payload,
        attempt,
        ack: done,
        bury,
        giveBack: () => {
          if (attempt < this.#what.maxDeliveries) deliver(attempt + 1)
          else void bury('came too often')
        },
      })
    deliver(1)
  }

  /** Puts a message aside, however often that takes. @returns whether it was, when this member ended. */
  async #bury(message: Message, reason: string): Promise<boolean> {
    for (let attempt = 0; !this.#ended.signal.aborted; attempt++)
      try {
        await this.#what.keep(message, reason)
        return true
      } catch (error) {
        this.#events.onTrouble(error as Error)
        await pause(backoffMs(attempt), this.#ended.signal)
      }
    return false
  }

  /** Leaves the group, so that its partitions go to others at once; a broker that is away finds out by itself. */
  async #leave(consumer: BytesConsumer, stream: BytesStream | undefined): Promise<void> {
    const { commandTimeoutMs } = this.#clients.address
    stream?.on('error', () => undefined)
    try {
      if (stream !== undefined) await within(commandTimeoutMs, 'The end of a stream', stream.close())
      await within(commandTimeoutMs, 'Leaving the group', consumer.close(true))
    } catch {
      stream?.destroy()
      await cut(consumer, commandTimeoutMs)
    }
  }
}

/** Ends connections, whatever is under way on them. */
const cut = (consumer: BytesConsumer, timeoutMs: number): Promise<void> =>
  within(timeoutMs, 'The end of the connections', consumer.connections.close()).catch(
    () => undefined, // what still waits for the broker ends with its request's time-out
  )

/** Commits what is done, one commit after the other. */
class Committer {
  readonly #consumer: BytesConsumer
  readonly #topic: string
  readonly #offsets: Offsets
  #timer: NodeJS.Timeout | undefined
  #running: Promise<void> | undefined
  #isEnded = false

  constructor(consumer: BytesConsumer, topic: string, offsets: Offsets) {
    this.#consumer = consumer
    this.#topic = topic
    this.#offsets = offsets
  }

  soon(afterMs = COMMIT_EVERY_MS): void {
    if (this.#isEnded || this.#timer !== undefined) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      if (this.#running !== undefined) return this.soon()
      this.#running = this.#commit().finally(() => (this.#running = undefined))
    }, afterMs)
  }

  /** Commits the last, while there is time. */
  async end(timeoutMs: number): Promise<void> {
    this.#isEnded = true
    clearTimeout(this.#timer)
    await this.#running
    await within(timeoutMs, 'The last commit', this.#commit()).catch(() => undefined) // those messages come once more
  }

  async #commit(): Promise<void> {
    const commits = this.#offsets.take()
    if (commits.length === 0) return
    try {
      await this.#consumer.commit({ offsets: commits.map((commit) => ({ topic: this.#topic, ...commit })) })
    } catch {
      // During a rebalance, or without a broker. Where no message comes any more no later commit would cover this one, and the
      // group would seem to lag behind for ever.
      this.#offsets.again(commits)
      this.soon(COMMIT_AGAIN_MS)
    }
  }
}
