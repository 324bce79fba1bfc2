import type { Clock } from '../ports/clock.ts'
import type { TaskStore } from '../ports/task-store.ts'

/** What a worker holds. */
export interface Lease {
  readonly id: string
  readonly fence: number
}

/** Why a lease came to an end that the worker did not bring about. */
export type LeaseLoss =
  /** Another has the task, it was ended, or nobody could say for too long. */
  | 'lost'
  /** Its owner asked to cancel it, or its time is up; the worker still holds it, and ends it. */
  | 'cancelled'

/** A lease, and who is told of it. Nothing is told after {@link LeaseKeeper.drop}. */
export interface HeldLease {
  readonly lease: Lease
  /** At most once for each kind of loss; nothing after `lost`. */
  readonly onLoss: (loss: LeaseLoss) => void
  /** What was reported is in the store. */
  readonly onReported: () => void
}

/** Keeps the leases of a worker, as long as the worker is well. */
export interface LeaseKeeper {
  /**
   * From now on the leases are renewed. Call it before their handlers begin: one may block the event loop.
   * @param sentMs when their claim was sent, by the worker's monotonic clock.
   */
  hold(leases: readonly HeldLease[], sentMs: number): void
  /** The worker is done with it. */
  drop(lease: Lease): void
  /** Sent with the next renewal, within {@link REPORT_WITHIN_MS}; only the latest counts. */
  report(lease: Lease, statusMessage: string): void
  close(): Promise<void>
}

/** Times of leases. */
export interface LeaseTimes {
  /** A task whose worker has been silent for so long goes to another. */
  readonly leaseMs: number
  readonly renewMs: number
}

/** A worker stops by itself at this share of the lease since it sent its last good renewal: before another can have the task. */
export const SELF_LOSS_SHARE = 0.8
/** Status messages that come within this time go out together. */
export const REPORT_WITHIN_MS = 1_000

/** Renewals without an answer, at once. */
const MAX_IN_FLIGHT = 3
/** Share of the renewal period after which one that failed is sent again, at the least and the most. */
const RETRY_SHARE = [0.1, 0.3] as const
const HUNG_LOOK_MS = 100

interface Held extends HeldLease {
  /** When the last renewal that succeeded was sent, by the monotonic clock. */
  renewedMs: number
  statusMessage: string | undefined
  isCancelled: boolean
}

/** What a {@link LoopLeaseKeeper} works with. */
export interface KeeperParts {
  readonly store: Pick<TaskStore, 'heartbeat'>
  /** Name of the worker. */
  readonly worker: string
  readonly times: LeaseTimes
  readonly clock: Clock
  readonly onError: (error: unknown) => void
  /** Nothing is renewed while this says so. */
  readonly isHung?: () => boolean
  /** A renewal of all leases that was sent then has succeeded. */
  readonly onRenewed?: (sentMs: number) => void
}

/**
 * Renews leases in batches, from the event loop that it lives in: the worker's own, where a loop that stands still for longer
 * than the lease loses its tasks, or that of a thread ({@link ../tasks/lease-thread.ts}).
 *
 * 1. A renewal counts from when it was sent: the store's lease begins later, so ours ends sooner.
 * 2. A lease that could not be renewed is given up at {@link SELF_LOSS_SHARE} of its time, whatever the reason, also while a
 *    renewal still waits for its answer.
 * 3. A renewal that does not name a lease has lost it.
 * 4. Without a lease there is no timer and no query.
 */
export class LoopLeaseKeeper implements LeaseKeeper {
  readonly #parts: KeeperParts
  readonly #held = new Map<string, Held>()
  readonly #inFlight = new Set<Promise<void>>()
  #renewAtMs = Infinity
  #reportAtMs = Infinity
  /** No lease is given up before. */
  #giveUpAtMs = Infinity
  #alarm: AbortController | undefined
  #alarmAtMs = Infinity
  #isClosed = false

  constructor(parts: KeeperParts) {
    this.#parts = parts
  }

  hold(leases: readonly HeldLease[], sentMs: number): void {
    if (this.#held.size === 0) this.#renewAtMs = sentMs + this.#parts.times.renewMs
    for (const one of leases)
      this.#held.set(keyOf(one.lease), { ...one, renewedMs: sentMs, statusMessage: undefined, isCancelled: false })
    this.#giveUpAtMs = Math.min(this.#giveUpAtMs, sentMs + this.#limitMs)
    this.#arm()
  }

  drop(lease: Lease): void {
    this.#held.delete(keyOf(lease))
  }

  report(lease: Lease, statusMessage: string): void {
    const held = this.#held.get(keyOf(lease))
    if (held === undefined) return
    held.statusMessage = statusMessage
    this.#reportAtMs = Math.min(this.#reportAtMs, this.#parts.clock.monotonic() + REPORT_WITHIN_MS)
    this.#arm()
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#held.clear()
    this.#alarm?.abort()
    await Promise.all(this.#inFlight)
  }

  get #limitMs(): number {
    return this.#parts.times.leaseMs * SELF_LOSS_SHARE
  }

  /** Sees to an alarm in time for what comes first; one that comes sooner will do, since it arms the next. */
  #arm(): void {
    const atMs = Math.min(this.#renewAtMs, this.#reportAtMs, this.#giveUpAtMs)
    if (this.#isClosed || this.#held.size === 0 || atMs >= this.#alarmAtMs) return
    const { clock } = this.#parts
    this.#alarm?.abort()
    const alarm = (this.#alarm = new AbortController())
    this.#alarmAtMs = atMs
    clock.sleep(Math.max(0, atMs - clock.monotonic()), alarm.signal).then(
      () => this.#onAlarm(),
      () => undefined, // another alarm comes sooner, or the keeper is closed
    )
  }

  #onAlarm(): void {
    this.#alarmAtMs = Infinity
    const nowMs = this.#parts.clock.monotonic()
    if (nowMs >= this.#giveUpAtMs) this.#giveUp(nowMs)
    if (nowMs >= this.#renewAtMs) this.#renewAll(nowMs)
    else if (nowMs >= this.#reportAtMs) this.#sendReports()
    this.#arm()
  }

  #giveUp(nowMs: number): void {
    this.#giveUpAtMs = Infinity
    for (const one of Array.from(this.#held.values())) {
      const atMs = one.renewedMs + this.#limitMs
      if (nowMs >= atMs) this.#lose(one)
      else this.#giveUpAtMs = Math.min(this.#giveUpAtMs, atMs)
    }
  }

  #renewAll(nowMs: number): void {
    const { times, isHung } = this.#parts
    if (isHung?.() === true) {
      this.#renewAtMs = nowMs + HUNG_LOOK_MS
      return
    }
    this.#renewAtMs = nowMs + times.renewMs
    if (this.#inFlight.size < MAX_IN_FLIGHT) this.#send([...this.#held.values()], true)
  }

  #sendReports(): void {
    this.#reportAtMs = Infinity
    if (this.#parts.isHung?.() === true) return // they go with the next renewal
    const reports = [...this.#held.values()].filter(({ statusMessage }) => statusMessage !== undefined)
    if (reports.length > 0 && this.#inFlight.size < MAX_IN_FLIGHT) this.#send(reports, false)
  }

  #send(held: readonly Held[], isAll: boolean): void {
    if (held.length === 0) return
    this.#reportAtMs = Infinity
    const sent = this.#renew(held, isAll).finally(() => this.#inFlight.delete(sent))
    this.#inFlight.add(sent)
  }

  async #renew(held: readonly Held[], isAll: boolean): Promise<void> {
    const { store, worker, times, clock, onError, onRenewed } = this.#parts
    const sentMs = clock.monotonic()
    const leases = held.map(({ lease, statusMessage }) => ({ ...lease, statusMessage }))
    try {
      const answers = await store.heartbeat(worker, leases, times.leaseMs)
      if (isAll) onRenewed?.(sentMs)
      const alive = new Map(answers.map((one) => [keyOf(one), one]))
      for (const [index, one] of held.entries()) {
        if (this.#held.get(keyOf(one.lease)) !== one) continue
        const answer = alive.get(keyOf(one.lease))
        if (answer === undefined) this.#lose(one)
        else this.#renewed(one, sentMs, leases[index]!.statusMessage, answer.cancel)
      }
    } catch (error) {
      const [least, most] = RETRY_SHARE
      const againMs = clock.monotonic() + times.renewMs * (least + Math.random() * (most - least))
      this.#renewAtMs = Math.min(this.#renewAtMs, againMs)
      this.#arm()
      onError(error)
    }
  }

  #renewed(one: Held, sentMs: number, reported: string | undefined, isCancelled: boolean): void {
    one.renewedMs = Math.max(one.renewedMs, sentMs) // answers may overtake each other
    if (reported !== undefined) {
      if (one.statusMessage === reported) one.statusMessage = undefined
      one.onReported()
    }
    if (!isCancelled || one.isCancelled) return
    one.isCancelled = true
    one.onLoss('cancelled')
  }

  #lose(one: Held): void {
    if (this.#held.delete(keyOf(one.lease))) one.onLoss('lost')
  }
}

/** Tells leases apart. */
export const keyOf = ({ id, fence }: Lease): string => `${id} ${fence}`
