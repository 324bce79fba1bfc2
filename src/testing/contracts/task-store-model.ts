import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import type { ClaimedTask, Task, TaskStore } from '../../ports/task-store.ts'
import { FakeClock } from '../fake-clock.ts'
import { ReferenceTaskStore } from '../reference-task-store.ts'
import type { TestRunner } from './suite.ts'
import { bytes, text, type TaskBench } from './task-bench.ts'

const RUNS = 20
const ACTS = 60

/** A small generator (mulberry32), so that a failure can be run again from its seed. */
function random(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}

/** Random operations, on the store and on the reference: the outcomes and the tasks are the same. No time passes. */
export function taskStoreModel(test: TestRunner['test'], bench: () => TaskBench): void {
  for (let seed = 1; seed <= RUNS; seed++)
    test(`random operations have the outcomes that the reference has (seed ${seed})`, async () => {
      const { store, queue, owner, newTask } = bench()
      const reference = new ReferenceTaskStore(new FakeClock())
      const pick = random(seed)
      const ids: string[] = []
      /** Every claim that was ever made: also the stale ones go on writing. */
      const claims: { id: string; fence: number }[] = []
      const both = async <T>(what: string, act: (one: TaskStore) => Promise<T>): Promise<T> => {
        const refusal = (error: unknown): T => ({ refused: (error as { code?: string }).code }) as T
        const [here, there] = [await act(store).catch(refusal), await act(reference).catch(refusal)]
        assert.deepEqual(here, there, `${what}, seed ${seed}`)
        return here
      }
      for (let act = 0; act < ACTS; act++) {
        const id = ids[pick(Math.max(1, ids.length))]
        const stale = claims[pick(Math.max(1, claims.length))]
        const kind = pick(12)
        if (kind <= 1 || id === undefined) {
          const task = newTask({
            maxAttempts: 100,
            idempotencyKey: `key-${pick(6)}`,
            tool: pick(2) === 0 ? 'work' : 'other',
          })
          const created = await both('create', async (one) => {
            const { task: found, created: isNew } = await one.create(task)
            return { id: found.id, isNew }
          })
          if (created.isNew) ids.push(created.id)
        } else if (kind <= 3) {
          // One task at a time, and told which: the order among equals is each store's own.
          const ready = (await Promise.all(ids.map((one) => reference.get(one, owner)))).filter(
            (task) => task?.state === 'ready',
          )
          if (ready.length === 0) continue
          const request = {
            worker: `worker-${pick(3)}`,
            token: randomUUID(),
            queue,
            tools: ['work', 'other'],
            handlerRevisions: [],
            limit: 1000,
            leaseMs: 3_600_000,
          }
          const taken = await both('claim', async (one) => (await one.claim(request)).map(shapeOfClaim).sort(byId))
          claims.push(...taken.map((task) => ({ id: task.id, fence: task.fence })))
        } else if (kind === 4) {
          const answers = [{ name: `ask-${pick(3)}`, value: bytes(`answer ${act}`) }]
          await both('answer', (one) => one.answer(id, owner, answers))
        } else if (kind === 5) {
          await both('cancel', (one) => one.cancel(id, owner))
        } else if (stale !== undefined) {
          const { fence } = stale
          const name = `step-${pick(3)}`
          if (kind === 6)
            await both('step', (one) =>
              one.recordStep({ ...stale, name, value: bytes(`value ${act}`), leaseMs: 3_600_000 }),
            )
          else if (kind === 7) {
            const held = await reference.get(stale.id, owner)
            // A name that a step or question has already is refused.
            const asks = [
              { name: pick(4) === 0 ? `step-${pick(3)}` : `ask-${pick(2) === 0 ? act : pick(3)}`, request: bytes('?') },
              ...(pick(2) === 0 ? [] : [{ name: `more-${act}`, request: bytes('?') }]),
            ]
            if (held?.fence === fence) await both('park', (one) => one.park(stale.id, fence, { asks }))
          } else if (kind === 8)
            await both('finish', (one) =>
              one.finish([{ ...stale, state: 'completed', result: bytes(`result ${act}`) }]),
            )
          else if (kind === 9) await both('release', (one) => one.release([stale]))
          else if (kind === 10)
            await both('heartbeat', (one) =>
              one.heartbeat('worker', [{ ...stale, statusMessage: `at ${act}` }], 3_600_000),
            )
          else {
            const parked = await reference.get(stale.id, owner)
            const open = parked?.asks[0]?.name
            if (open !== undefined)
              await both('answer', (one) => one.answer(stale.id, owner, [{ name: open, value: bytes(`yes ${act}`) }]))
          }
        }
      }
      for (const id of ids) await both('the task at the end', async (one) => shapeOf((await one.get(id, owner))!))
    })
}

const byId = (a: { id: string }, b: { id: string }): number => (a.id < b.id ? -1 : 1)

/** What two stores must agree on: everything but times. */
function shapeOf(task: Task): Record<string, unknown> & { id: string; fence: number } {
  const { id, fence, state, doneFence, attempts, crashes, statusMessage, dead, asks, result, error } = task
  return {
    id,
    fence,
    state,
    doneFence,
    attempts,
    crashes,
    statusMessage,
    dead,
    asks: asks.map(({ name }) => name),
    result: text(result),
    error: text(error),
  }
}

function shapeOfClaim(task: ClaimedTask): Record<string, unknown> & { id: string; fence: number } {
  const journal = task.journal.map(({ name, kind, value }) => `${kind} ${name}: ${text(value) ?? 'open'}`)
  return { ...shapeOf(task), cancel: task.cancel, journal }
}
