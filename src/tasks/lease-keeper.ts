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

/** Keeps the leases of a worker, as long as the worker is well. */
export interface LeaseKeeper {
  /** From now on the lease is renewed. `onLoss` runs at most once, and never after {@link drop}. */
  hold(lease: Lease, onLoss: (loss: LeaseLoss) => void): void
  /** The worker is done with it. */
  drop(lease: Lease): void
  /** Sent with the next renewal; only the latest counts. */
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

interface Held {
  readonly lease: Lease
  readonly onLoss: (loss: LeaseLoss) => void
  /** When the last renewal that succeeded was sent, by the monotonic clock. */
  renewedMs: number
  statusMessage: string | undefined
  isCancelled: boolean
}

/**
 * Renews leases in batches from the worker's own event loop. A worker whose loop stands still for longer than the lease loses
 * its tasks; {@link ../tasks/lease-thread.ts} keeps them through that, and is what `holdfast worker` uses.
 *
 * 1. A renewal counts from when it was sent: the store's lease begins later, so ours ends sooner.
 * 2. A lease that could not be renewed is given up at {@link SELF_LOSS_SHARE} of its time, whatever the reason.
 * 3. A renewal that does not name a lease has lost it.
 */
export class LoopLeaseKeeper implements LeaseKeeper {
  readonly #store: Pick<TaskStore, 'heartbeat'>
  readonly #worker: string
  readonly #times: LeaseTimes
  readonly #clock: Clock
  readonly #onError: (error: unknown) => void
  readonly #held = new Map<string, Held>()
  readonly #stop = new AbortController()
  readonly #running: Promise<void>

  constructor(
    store: Pick<TaskStore, 'heartbeat'>,
    worker: string,
    times: LeaseTimes,
    clock: Clock,
    onError: (error: unknown) => void,
  ) {
    this.#store = store
    this.#worker = worker
    this.#times = times
    this.#clock = clock
    this.#onError = onError
    this.#running = this.#run()
  }

  hold(lease: Lease, onLoss: (loss: LeaseLoss) => void): void {
    const renewedMs = this.#clock.monotonic()
    this.#held.set(keyOf(lease), { lease, onLoss, renewedMs, statusMessage: undefined, isCancelled: false })
  }
  drop(lease: Lease): void {
    this.#held.delete(keyOf(lease))
  }
  report(lease: Lease, statusMessage: string): void {
    const held = this.#held.get(keyOf(lease))
    if (held !== undefined) held.statusMessage = statusMessage
  }

  async close(): Promise<void> {
    this.#stop.abort()
    this.#held.clear()
    await this.#running
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop
    while (!signal.aborted) {
      try {
        await this.#clock.sleep(this.#times.renewMs, signal)
      } catch {
        return // closed
      }
      await this.#renew()
    }
  }

  async #renew(): Promise<void> {
    const held = [...this.#held.values()]
    if (held.length === 0) return
    const sentMs = this.#clock.monotonic()
    try {
      const leases = held.map(({ lease, statusMessage }) => ({ ...lease, statusMessage }))
      const alive = new Map(
        (await this.#store.heartbeat(this.#worker, leases, this.#times.leaseMs)).map((one) => [keyOf(one), one]),
      )
      for (const one of held) {
        const answer = alive.get(keyOf(one.lease))
        if (answer === undefined) this.#lose(one, 'lost')
        else {
          one.renewedMs = sentMs
          if (answer.cancel && !one.isCancelled) {
            one.isCancelled = true
            if (this.#held.has(keyOf(one.lease))) one.onLoss('cancelled')
          }
        }
      }
    } catch (error) {
      this.#onError(error)
    }
    const limitMs = this.#times.leaseMs * SELF_LOSS_SHARE
    for (const one of held) if (this.#clock.monotonic() - one.renewedMs >= limitMs) this.#lose(one, 'lost')
  }

  #lose(one: Held, loss: LeaseLoss): void {
    if (this.#held.delete(keyOf(one.lease))) one.onLoss(loss)
  }
}

const keyOf = ({ id, fence }: Lease): string => `${id} ${fence}`
