import type { ClaimedTask, TaskEnd } from '../ports/task-store.ts'
import type { Gather } from './gather.ts'
import type { AttemptOutcome, WorkerParts } from './worker.ts'

/** What outcomes are written with. */
export interface OutcomeWriter extends Pick<
  WorkerParts,
  'name' | 'store' | 'queue' | 'keeper' | 'onChanged' | 'onDue'
> {
  /** Ends of all attempts of the worker that meet. */
  readonly finishing: Gather<TaskEnd, 'done' | 'lost'>
  /** Repeats a write until it is known to be carried out, or the lease is lost. */
  readonly write: <T>(work: () => Promise<T>) => Promise<T>
}

/**
 * Writes what became of an attempt. What is lost on the way is another's to end.
 * @param statusMessage the last that the handler reported: a task that is put aside, or has ended, shows it.
 */
export async function writeOutcome(
  { id, owner, fence, queue: queueName }: ClaimedTask,
  outcome: AttemptOutcome,
  statusMessage: string | undefined,
  { name, store, queue, keeper, onChanged, onDue, finishing, write }: OutcomeWriter,
): Promise<void> {
  const finish = async (end: TaskEnd): Promise<void> => {
    const done = await write(() => finishing.add({ ...end, statusMessage }))
    // A first try whose reply was lost has ended it: then the fence of the end is ours.
    if (done === 'lost' && (await write(() => store.get(id, owner)))?.doneFence !== fence) return
    onChanged(id)
  }
  switch (outcome.kind) {
    case 'completed': {
      const { result, artifacts = [], dead } = outcome
      return finish({ id, fence, state: 'completed', result, artifacts, ...(dead === undefined ? {} : { dead }) })
    }
    case 'failed': {
      const { error, dead = 'error' } = outcome
      return finish({ id, fence, state: 'failed', error, dead })
    }
    case 'cancelled':
      return finish({ id, fence, state: 'cancelled' })
    case 'asked':
    case 'sleeping': {
      const until =
        outcome.kind === 'asked'
          ? { asks: outcome.asks, expireAfterMs: outcome.expireAfterMs }
          : { wakeAfterMs: outcome.wakeAfterMs }
      const parked = await write(() => store.park(id, fence, { ...until, statusMessage }))
      if (parked === 'cancelled') return finish({ id, fence, state: 'cancelled' })
      if (outcome.kind === 'sleeping') onDue?.(outcome.wakeAfterMs)
      return onChanged(id)
    }
    case 'retry': {
      const { runAfterMs } = outcome
      await write(() => store.retry(id, fence, runAfterMs, statusMessage))
      onDue?.(runAfterMs)
      return onChanged(id)
    }
    case 'abandoned':
      return
    case 'crashed': {
      // The sweeper charges it once the lease has run out; to wait for that would win nothing.
      keeper.drop({ id, fence })
      await write(() => store.heartbeat(name, [{ id, fence }], 1))
      return
    }
    case 'released': {
      const released = await write(() => store.release([{ id, fence }]))
      // Others may take it at once; a bell that is lost is rung again by the sweeper.
      if (released.length > 0) await queue.ring(queueName, released).catch(() => undefined)
    }
  }
}
