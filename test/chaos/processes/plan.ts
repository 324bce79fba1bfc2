// What a task of a run does: a list of actions, drawn from a seed and carried in the task's arguments.
import { setTimeout as sleep } from 'node:timers/promises'
import type { HistoryWriter } from '../history.ts'
import type { Returned } from '../check/operations.ts'

/** One thing that a handler does. */
export type Action =
  /** Takes a while, and puts a value on record that no other run of it would give. */
  | { readonly do: 'step'; readonly name: string; readonly ms: number }
  /** Asks the client, and waits for the answer without a worker. */
  | { readonly do: 'ask'; readonly name: string }
  | { readonly do: 'sleep'; readonly name: string; readonly ms: number }
  /** Takes a while without putting anything on record; ends early when it is told to stop, unless it does not listen. */
  | { readonly do: 'work'; readonly ms: number; readonly ignoresAbort?: boolean }
  /** Fails in its first attempts, in a way that is worth another. */
  | { readonly do: 'fail'; readonly attempts: number }
  /** Keeps the event loop to itself. */
  | { readonly do: 'block'; readonly ms: number }

/** What a handler of these runs works with. */
export interface PlanContext {
  readonly task: string
  readonly fence: number
  /** Attempts before this one that were charged. */
  readonly attempt: number
  readonly signal: AbortSignal
  step(name: string, run: () => Promise<unknown>): Promise<unknown>
  ask(name: string): Promise<unknown>
  sleep(name: string, ms: number): Promise<void>
}

/** An error that is worth another attempt. */
export class Transient extends Error {}

/** Runs a plan, and writes down what it does before it does it. */
export async function runPlan(
  plan: readonly Action[],
  context: PlanContext,
  history: HistoryWriter,
): Promise<Returned> {
  const { task, fence, attempt, signal } = context
  const about = { task, fence }
  const returned: Record<string, unknown> = {}
  history.note('enter', { ...about, attempt })
  for (const action of plan)
    switch (action.do) {
      case 'step': {
        const { name, ms } = action
        const value = await context.step(name, async () => {
          history.note('run-step', { ...about, name })
          await sleep(ms, undefined, { signal })
          return `${name} under ${fence} by ${process.pid}`
        })
        history.note('use', { ...about, name, value })
        returned[name] = value
        break
      }
      case 'ask': {
        const { name } = action
        const value = await context.ask(name)
        history.note('deliver', { ...about, name, value })
        returned[name] = value
        break
      }
      case 'sleep':
        await context.sleep(action.name, action.ms)
        break
      case 'work':
        await sleep(action.ms, undefined, action.ignoresAbort === true ? {} : { signal })
        break
      case 'fail':
        if (attempt < action.attempts) throw new Transient(`fails in attempt ${attempt}`)
        break
      case 'block': {
        const untilMs = performance.now() + action.ms
        while (performance.now() < untilMs);
        break
      }
    }
  const result = { ...returned, fence }
  history.note('leave', { ...about, value: result })
  return result
}
