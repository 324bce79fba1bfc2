import type { CompiledSchedule } from '../define/schedule.ts'
import type { ResolvedTrigger } from '../define/trigger.ts'
import { HoldfastError } from '../errors/holdfast-error.ts'
import { checkArguments, keyOf, refusalOf, type TriggerParts } from './trigger-call.ts'

/** The clock of a machine may be set: nobody sleeps for longer without another look at it. */
const LONGEST_SLEEP_MS = 30_000
/** A timer is never quite on time. */
const LEAST_LATENESS_MS = 1_000
const FIRST_RETRY_MS = 100
const LONGEST_RETRY_MS = 5_000

/**
 * Starts a task at each time of a schedule. Every worker does: the scheduled time is the task's idempotency key, so that one of
 * them makes it and the others find it. What a restart or an outage has missed is made up for in the same way, without a record of
 * what has run: the tasks themselves are that record, for as long as they are kept.
 */
export class ScheduleRunner {
  /** Resolves when it has stopped. */
  readonly ended: Promise<void>
  readonly #trigger: ResolvedTrigger
  readonly #schedule: CompiledSchedule
  readonly #parts: Pick<TriggerParts, 'clock' | 'startTask' | 'telemetry'>
  readonly #signal: AbortSignal

  constructor(
    trigger: ResolvedTrigger,
    schedule: CompiledSchedule,
    parts: Pick<TriggerParts, 'clock' | 'startTask' | 'telemetry'>,
    signal: AbortSignal,
  ) {
    this.#trigger = trigger
    this.#schedule = schedule
    this.#parts = parts
    this.#signal = signal
    this.ended = this.#run().catch((error: unknown) => {
      if (!signal.aborted) parts.telemetry.failure(undefined, `The trigger ${this.#name} has ended.`, error)
    })
  }

  get #name(): string {
    return this.#trigger.definition.name
  }
  get #lateMs(): number {
    return Math.max(this.#trigger.catchUpMs, LEAST_LATENESS_MS)
  }

  async #run(): Promise<void> {
    const { clock } = this.#parts
    let doneMs = clock.now() - this.#trigger.catchUpMs - 1
    while (!this.#signal.aborted) {
      const dueMs = this.#schedule.next(doneMs)
      if (dueMs === undefined) return
      const nowMs = clock.now()
      if (dueMs > nowMs) await clock.sleep(Math.min(dueMs - nowMs, LONGEST_SLEEP_MS), this.#signal)
      else if (dueMs < nowMs - this.#lateMs) {
        // The machine has slept, perhaps through many times: they are not gone through one by one.
        this.#missed(dueMs)
        doneMs = nowMs - this.#lateMs - 1
      } else {
        await this.#fire(dueMs)
        doneMs = dueMs
      }
    }
  }

  async #fire(scheduledMs: number): Promise<void> {
    const { clock, startTask, telemetry } = this.#parts
    const { tool, principal } = this.#trigger
    const at = new Date(scheduledMs).toISOString()
    const call = await this.#argumentsOf(scheduledMs)
    const options = { idempotencyKey: keyOf(this.#name, at), principal }
    for (let attempt = 0; ; attempt++)
      try {
        const problem = 'problem' in call ? call.problem : await refusalOf(startTask(tool, call.args, options))
        telemetry.count(problem === undefined ? 'trigger_tasks' : 'trigger_refusals', this.#name)
        if (problem === undefined) return
        const error = new HoldfastError(
          'trigger_message_refused',
          `The time ${at} of the trigger ${this.#name}: ${problem}`,
        )
        return telemetry.failure(undefined, 'A scheduled time got no task.', error)
      } catch (error) {
        this.#signal.throwIfAborted()
        telemetry.count('trigger_retries', this.#name)
        if (attempt === 0)
          telemetry.failure(undefined, `The trigger ${this.#name} can not start a task now; it tries again.`, error)
        if (clock.now() - scheduledMs > this.#lateMs) return this.#missed(scheduledMs)
        await clock.sleep(Math.random() * Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** attempt), this.#signal)
      }
  }

  async #argumentsOf(scheduledMs: number): ReturnType<typeof checkArguments> {
    const { definition, tool } = this.#trigger
    try {
      const given = definition.toArguments === undefined ? {} : await definition.toArguments({ scheduledMs } as never)
      return await checkArguments(tool, given, false)
    } catch (error) {
      return { problem: error instanceof Error ? error.message : String(error) }
    }
  }

  #missed(scheduledMs: number): void {
    const { telemetry } = this.#parts
    telemetry.count('trigger_missed', this.#name)
    const what = `The trigger ${this.#name} has missed ${new Date(scheduledMs).toISOString()}, and does not make up for it after ${this.#lateMs} ms.`
    telemetry.failure(undefined, 'A scheduled time was missed.', new HoldfastError('trigger_time_missed', what))
  }
}
