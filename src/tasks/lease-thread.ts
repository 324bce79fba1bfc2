/*
 * The thread that renews a worker's leases, so that a handler which blocks the event loop does not lose its task, and one that
 * hangs does.
 *
 * 1. It has a connection of its own: the worker's pool may be busy, and its event loop stands still with it.
 * 2. The worker's loop stamps a word of shared memory while it holds leases. Once the stamp is older than `hungAfterMs` nothing
 *    is renewed, until the loop turns again; leases are then lost as if the store were silent.
 * 3. The second word holds when the last good renewal was sent, for the worker to go on from if this thread dies.
 * 4. Times are those of `process.hrtime`, which all threads share (`performance.now()` begins anew in each).
 */
import type { MessagePort } from 'node:worker_threads'
import { systemClock, type Clock } from '../ports/clock.ts'
import type { TaskStore } from '../ports/task-store.ts'
import { LoopLeaseKeeper, type Lease, type LeaseLoss, type LeaseTimes } from './lease-keeper.ts'
import { toPortable, type PortableError } from '../errors/portable-error.ts'

/** What the thread is started with. */
export interface LeaseThreadData {
  /** Of the task store. */
  readonly url: string
  readonly worker: string
  readonly times: LeaseTimes
  /** A loop that has stood still for so long is hung. */
  readonly hungAfterMs: number
  /** The {@link WORDS}, nanoseconds each. */
  readonly memory: SharedArrayBuffer
}

/** Places in the shared memory. */
export const WORDS = { loopTurned: 0, renewed: 1 } as const

/** What the worker tells the thread. */
export type ToLeaseThread =
  | { readonly kind: 'hold'; readonly leases: readonly Lease[]; readonly sentMs: number }
  | { readonly kind: 'drop'; readonly leases: readonly Lease[] }
  | { readonly kind: 'report'; readonly lease: Lease; readonly statusMessage: string }
  | { readonly kind: 'close' }

/** What the thread tells the worker. */
export type FromLeaseThread =
  | { readonly kind: 'ready' }
  | { readonly kind: 'failed'; readonly error: PortableError }
  | { readonly kind: 'loss'; readonly lease: Lease; readonly loss: LeaseLoss }
  | { readonly kind: 'reported'; readonly lease: Lease }
  | { readonly kind: 'error'; readonly error: PortableError }

/** Milliseconds of the clock that all threads of a process share. */
export const sharedMs = (): number => Number(process.hrtime.bigint()) / 1e6
const toNs = (ms: number): bigint => BigInt(Math.round(ms * 1e6))
const sharedClock: Clock = { ...systemClock, monotonic: sharedMs }

/** Runs in the thread, until it is told to close. */
export async function serveLeases(
  port: MessagePort,
  data: LeaseThreadData,
  open: (url: string) => Promise<Pick<TaskStore, 'heartbeat' | 'close'>>,
): Promise<void> {
  const tell = (message: FromLeaseThread): void => port.postMessage(message)
  const { worker, times, hungAfterMs } = data
  const words = new BigInt64Array(data.memory)
  let store: Pick<TaskStore, 'heartbeat' | 'close'>
  try {
    store = await open(data.url)
  } catch (error) {
    tell({ kind: 'failed', error: toPortable(error) })
    return port.close()
  }
  const keeper = new LoopLeaseKeeper({
    store,
    worker,
    times,
    clock: sharedClock,
    isHung: () => sharedMs() - Number(Atomics.load(words, WORDS.loopTurned)) / 1e6 > hungAfterMs,
    onRenewed: (sentMs) => void Atomics.store(words, WORDS.renewed, toNs(sentMs)),
    onError: (error) => tell({ kind: 'error', error: toPortable(error) }),
  })
  port.on('message', (message: ToLeaseThread) => {
    switch (message.kind) {
      case 'hold': {
        const leases = message.leases.map((lease) => ({
          lease,
          onLoss: (loss: LeaseLoss) => tell({ kind: 'loss', lease, loss }),
          onReported: () => tell({ kind: 'reported', lease }),
        }))
        return keeper.hold(leases, message.sentMs)
      }
      case 'drop':
        return message.leases.forEach((lease) => keeper.drop(lease))
      case 'report':
        return keeper.report(message.lease, message.statusMessage)
      case 'close':
        port.close()
        keeper
          .close()
          .then(() => store.close())
          .catch((error: unknown) => {
            throw error // ends the thread, and is told as its `error`
          })
    }
  })
  tell({ kind: 'ready' })
}
