import { HoldfastError } from '../../errors/holdfast-error.ts'

/**
 * What may go wrong with any operation:
 * - `error-before`: it fails, and nothing was done;
 * - `time-out-after`: it is carried out, and fails to say so, as when an answer is lost on the way;
 * - `delayMs`: it is carried out, later.
 */
export type OperationFault = 'error-before' | 'time-out-after' | { readonly delayMs: number }

/**
 * What may go wrong with a message, besides: `drop` (it is lost, and nobody is told), `duplicate` (it comes twice),
 * `reorder` (it comes after the next one of its channel).
 */
export type MessageFault = OperationFault | 'drop' | 'duplicate' | 'reorder'

/** Decides for each operation, as it begins, what goes wrong with it: a fault, or nothing. */
export type FaultPlan<Fault> = (operation: string) => Fault | undefined

/**
 * A plan by chance that is the same for the same seed: each operation meets one of `faults`, drawn evenly, with the
 * probability `rate`.
 */
export function seededFaults<Fault>(seed: number, rate: number, faults: readonly Fault[]): FaultPlan<Fault> {
  const random = mulberry32(seed)
  return () => (random() < rate ? faults[Math.floor(random() * faults.length)] : undefined)
}

/** Runs an operation under a fault. @throws {HoldfastError} `backend_failed` where the fault says so. */
export async function underFault<T>(
  fault: OperationFault | undefined,
  operation: string,
  sleep: (ms: number) => Promise<void>,
  run: () => Promise<T>,
): Promise<T> {
  if (fault === 'error-before') throw new HoldfastError('backend_failed', `Injected: ${operation} was not carried out.`)
  if (typeof fault === 'object') await sleep(fault.delayMs)
  const value = await run()
  if (fault === 'time-out-after')
    throw new HoldfastError('backend_failed', `Injected: ${operation} was carried out, and its answer lost.`)
  return value
}

/** A small generator of numbers in [0, 1): `mulberry32`, in the public domain. */
function mulberry32(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
