import { Worker } from 'node:worker_threads'
import { HoldfastError } from '../errors/holdfast-error.ts'
import {
  keyOf,
  LoopLeaseKeeper,
  type HeldLease,
  type KeeperParts,
  type Lease,
  type LeaseKeeper,
  type LeaseTimes,
} from './lease-keeper.ts'
import { sharedMs, WORDS, type FromLeaseThread, type LeaseThreadData, type ToLeaseThread } from './lease-thread.ts'
import { fromPortable } from '../errors/portable-error.ts'

/** The worker's loop says this often that it turns. */
const STAMP_MS = 100
const CLOSE_MS = 1_000

/** What a {@link ThreadLeaseKeeper} works with. */
export interface ThreadKeeperParts extends Pick<KeeperParts, 'store' | 'worker' | 'clock' | 'onError'> {
  /** Module of the thread. */
  readonly entry: URL
  /** Of the task store; `store` takes its place where the thread has died. */
  readonly url: string
  readonly times: LeaseTimes
  /** A loop that stands still for longer loses its leases. */
  readonly hungAfterMs: number
  /** The thread has died. Leases are kept from the worker's own loop from then on: drain. */
  readonly onDied: (error: Error) => void
}

interface Held extends HeldLease {
  readonly sentMs: number
}

/** Keeps leases from a thread: see {@link ./lease-thread.ts}. */
export class ThreadLeaseKeeper implements LeaseKeeper {
  readonly #parts: ThreadKeeperParts
  readonly #worker: Worker
  readonly #words = new BigInt64Array(new SharedArrayBuffer(2 * BigInt64Array.BYTES_PER_ELEMENT))
  readonly #held = new Map<string, Held>()
  readonly #exited: Promise<void>
  readonly #ready = Promise.withResolvers<void>()
  /** Told together: they don't hurry. */
  #dropped: Lease[] = []
  #stamping: NodeJS.Timeout | undefined
  /** Takes over where the thread has died. */
  #successor: LoopLeaseKeeper | undefined
  #isClosed = false

  /**
   * Starts the thread; resolves when it has its store.
   * @throws {HoldfastError} what opening the store throws; `backend_failed` where the thread can't start.
   */
  static async open(parts: ThreadKeeperParts): Promise<ThreadLeaseKeeper> {
    const keeper = new ThreadLeaseKeeper(parts)
    try {
      await keeper.#ready.promise
    } catch (error) {
      await keeper.close()
      throw error
    }
    return keeper
  }

  private constructor(parts: ThreadKeeperParts) {
    this.#parts = parts
    const { url, worker, times, hungAfterMs } = parts
    const workerData: LeaseThreadData = {
      url,
      worker,
      times,
      hungAfterMs,
      memory: this.#words.buffer as SharedArrayBuffer,
    }
    this.#worker = new Worker(parts.entry, { workerData, name: 'holdfast-leases' })
    this.#worker.on('message', (message: FromLeaseThread) => this.#onMessage(message))
    let cause: Error | undefined
    this.#worker.on('error', (error: Error) => (cause = error))
    this.#exited = new Promise((resolve) => {
      this.#worker.once('exit', (code) => {
        this.#onExit(
          new HoldfastError('backend_failed', `The thread that keeps leases has ended (${code}).`, { cause }),
        )
        resolve()
      })
    })
  }

  hold(leases: readonly HeldLease[], sentMs: number): void {
    for (const one of leases) this.#held.set(keyOf(one.lease), { ...one, sentMs })
    if (this.#successor !== undefined) return this.#successor.hold(leases, sentMs)
    this.#stamp()
    // Timers of a loop that is about to be blocked don't fire, so this is told at once.
    const sharedSentMs = sharedMs() - (this.#parts.clock.monotonic() - sentMs)
    this.#post({ kind: 'hold', leases: leases.map(({ lease }) => lease), sentMs: sharedSentMs })
    this.#stamping ??= setInterval(() => this.#stamp(), STAMP_MS).unref()
  }

  drop(lease: Lease): void {
    this.#held.delete(keyOf(lease))
    if (this.#successor !== undefined) return this.#successor.drop(lease)
    if (this.#dropped.push(lease) === 1) setImmediate(() => this.#tellDropped())
    if (this.#held.size > 0) return
    clearInterval(this.#stamping)
    this.#stamping = undefined
  }

  report(lease: Lease, statusMessage: string): void {
    if (!this.#held.has(keyOf(lease))) return
    if (this.#successor !== undefined) return this.#successor.report(lease, statusMessage)
    this.#post({ kind: 'report', lease, statusMessage })
  }

  async close(): Promise<void> {
    this.#isClosed = true
    clearInterval(this.#stamping)
    this.#held.clear()
    this.#post({ kind: 'close' })
    const left = new AbortController()
    // A renewal may wait long for a store that is silent.
    const late = this.#parts.clock.sleep(CLOSE_MS, left.signal).then(
      () => this.#worker.terminate(),
      () => undefined, // it has closed in time
    )
    await this.#exited
    left.abort()
    await late
    await this.#successor?.close()
  }

  #stamp(): void {
    Atomics.store(this.#words, WORDS.loopTurned, process.hrtime.bigint())
  }

  #post(message: ToLeaseThread): void {
    this.#worker.postMessage(message)
  }

  #tellDropped(): void {
    const leases = this.#dropped
    this.#dropped = []
    if (!this.#isClosed && this.#successor === undefined) this.#post({ kind: 'drop', leases })
  }

  #onMessage(message: FromLeaseThread): void {
    switch (message.kind) {
      case 'ready':
        return this.#ready.resolve()
      case 'failed':
        return this.#ready.reject(fromPortable(message.error))
      case 'error':
        return this.#parts.onError(fromPortable(message.error))
      case 'reported':
        return this.#held.get(keyOf(message.lease))?.onReported()
      case 'loss': {
        const held = this.#held.get(keyOf(message.lease))
        if (message.loss === 'lost') this.#held.delete(keyOf(message.lease))
        held?.onLoss(message.loss)
      }
    }
  }

  #onExit(error: HoldfastError): void {
    this.#ready.reject(error)
    if (this.#isClosed) return
    clearInterval(this.#stamping)
    const { clock, onDied } = this.#parts
    this.#successor = new LoopLeaseKeeper(this.#parts)
    const renewedAgoMs = sharedMs() - Number(Atomics.load(this.#words, WORDS.renewed)) / 1e6
    for (const { sentMs, ...one } of this.#held.values())
      this.#successor.hold([one], Math.max(sentMs, clock.monotonic() - renewedAgoMs))
    onDied(error)
  }
}
