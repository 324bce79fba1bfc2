import { artifactsNamedIn } from '../artifacts/keys.ts'
import { PlacedArtifacts } from '../artifacts/placed.ts'
import type { Client, Principal } from '../define/context.ts'
import type { ToolDefinition } from '../define/tool.ts'
import { HoldfastError } from '../errors/holdfast-error.ts'
import type { Call, CallServices } from '../kernel/call.ts'
import { failed, runHandler } from '../kernel/call-tool.ts'
import { HandlerContext } from '../kernel/context.ts'
import { sha256 } from '../kernel/digest.ts'
import type { InvocationFacts, Outcome } from '../kernel/invocation.ts'
import type { Limited } from '../kernel/limits.ts'
import { ownerOf } from '../kernel/owner.ts'
import { isOwnName, Replay } from '../kernel/replay.ts'
import type { ReplayHost, Suspension } from '../kernel/replay-host.ts'
import type { Entry } from '../kernel/request-state.ts'
import type { TaskCaller } from '../kernel/task-engine.ts'
import { toolFailure } from '../kernel/tool-result.ts'
import type { Clock } from '../ports/clock.ts'
import type { Operation } from '../ports/telemetry.ts'
import { LOG_LEVELS } from '../define/context.ts'
import { ERRORS } from '../errors/table.ts'
import { afterAbort, complete, fail, retry, type EndingAttempt } from './attempt-end.ts'
import { Journal } from './journal.ts'
import { fromAnswer, toQuestion, type TaskArguments } from './payload.ts'
import type { Attempt, AttemptOutcome, AttemptTask } from './worker.ts'

/** Waits up to this are waited on the worker: to put a task aside and wake it costs more. */
const WAITED_IN_PLACE_MS = 1_000
/** How long a page is waited for on the worker. */
const PAGE_WAIT_MS = 2_000
/** Ends the waits beside an attempt. Made once: an abort without a reason makes an exception with a stack each time. */
const ENDED = new Error('The attempt has ended.')

/** What a run works with. */
export interface TaskRunParts {
  readonly services: CallServices
  readonly tool: ToolDefinition
  readonly caller: TaskCaller
  readonly args: TaskArguments
  /** What stands for the task in keys of its artifacts; see `sealTask`. */
  readonly sealedTask: () => string
  /** Tells who waits for the task how far it is. */
  readonly onProgress: (done: number, total: number | undefined, message: string | undefined) => void
}

/** One attempt at a task: runs the tool's handler with what is on record, to one of the ways in which an attempt can end. */
export class TaskRun implements Call, ReplayHost {
  readonly services: CallServices
  readonly facts: Pick<InvocationFacts, 'method' | 'revision' | 'era' | 'client'>
  readonly principal: Principal
  readonly requestId: string
  readonly operation: Operation
  /** On record; read before the handler runs. */
  entries: readonly Entry[] = []
  readonly asked: readonly string[]
  readonly idempotencyKey: string
  readonly askNow = undefined
  readonly canDetach = false
  readonly longestWaitMs = WAITED_IN_PLACE_MS
  readonly pageWaitMs = PAGE_WAIT_MS
  onPutAside: ((outcome: Promise<Outcome>) => void) | undefined
  readonly #attempt: Attempt<AttemptTask>
  readonly #parts: TaskRunParts
  readonly #answers: ReadonlyMap<string, unknown>
  /** Names on record, of questions with all the keys under which they were asked. */
  readonly #names: ReadonlySet<string>
  readonly #controller = new AbortController()
  #replay: Replay | undefined
  #suspended = Promise.withResolvers<AttemptOutcome>()
  #isOver = false
  #artifacts: PlacedArtifacts | undefined
  readonly #journal: Journal
  readonly #owner: string
  #lastProgress = -Infinity

  constructor(attempt: Attempt<AttemptTask>, parts: TaskRunParts) {
    const { services, tool, caller } = parts
    const { task, signal } = attempt
    this.#attempt = attempt
    this.#parts = parts
    this.services = services
    this.principal = caller.principal
    this.#owner = ownerOf(caller.principal)
    this.requestId = caller.requestId
    this.facts = {
      method: 'tools/call',
      revision: caller.revision,
      era: caller.revision >= '2026-07-28' ? 'modern' : 'legacy',
      client: caller.client,
    }
    const asks = task.journal.filter(({ kind }) => kind === 'ask')
    this.#names = new Set(task.journal.map(({ name }) => name))
    this.#answers = new Map(asks.flatMap(({ name, value }) => (value === undefined ? [] : [[name, fromAnswer(value)]])))
    this.asked = asks.flatMap(({ name }) => (isOwnName(name) ? [] : [name]))
    // Not the id itself: to whom it belongs, it is a secret.
    this.idempotencyKey = sha256(['task', task.id])
    this.operation = services.telemetry.startAttempt({
      requestId: caller.requestId,
      tool: tool.name,
      taskId: task.id,
      attempt: task.attempts + task.crashes + 1,
      protocolVersion: caller.revision,
      traceparent: caller.traceparent,
    })
    this.#journal = new Journal({
      attempt,
      owner: this.#owner,
      artifacts: services.artifacts,
      clock: services.clock,
      signal: this.signal,
      onError: (error) =>
        services.telemetry.failure(this.operation, 'A big step waits for the artifact store, which is away.', error),
    })
    const onAbort = (): void => this.#controller.abort(signal.reason)
    if (signal.aborted) onAbort()
    else signal.addEventListener('abort', onAbort, { once: true })
  }

  get #ending(): EndingAttempt {
    const { operation, requestId } = this
    const { telemetry } = this.services
    const { task } = this.#attempt
    return { task, owner: this.#owner, tool: this.#parts.tool, requestId, era: this.facts.era, telemetry, operation }
  }
  get #reason(): HoldfastError {
    return this.signal.reason as HoldfastError
  }
  get clock(): Clock {
    return this.services.clock
  }
  get signal(): AbortSignal {
    return this.#controller.signal
  }
  get artifacts(): PlacedArtifacts {
    const place = { owner: this.#owner, sealedTask: this.#parts.sealedTask(), fence: this.#attempt.task.fence }
    return (this.#artifacts ??= new PlacedArtifacts(this.services.artifacts, place, () => this.signal))
  }
  get client(): Client {
    return this.facts.client
  }
  get revision(): string {
    return this.facts.revision
  }
  /** Anonymous callers of tasks are one caller: where they called from is not kept. */
  get caller(): Limited {
    return { principal: this.principal, address: undefined, connection: undefined }
  }
  get isDone(): boolean {
    return this.#isOver
  }
  get questionTtlMs(): number {
    return this.services.options.questionTtlMs
  }
  get answered(): readonly string[] {
    return this.asked.filter((name) => this.#answers.has(name))
  }

  /** Runs the attempt; never rejects. */
  async run(): Promise<AttemptOutcome> {
    const { clock, telemetry } = this.services
    const startedMs = clock.monotonic()
    const timeout = new AbortController()
    const { tool } = this.#parts
    const { timeoutMs, graceMs } = tool.task!
    const handled = this.#handle()
    const stopped = Promise.withResolvers<AttemptOutcome>()
    const onAbort = (): void => {
      clock.sleep(graceMs, timeout.signal).then(
        () => {
          this.#attempt.keepSlot(handled)
          stopped.resolve(afterAbort(this.#ending, this.#reason, false))
        },
        () => undefined, // it ended in time
      )
    }
    if (this.signal.aborted) onAbort()
    else this.signal.addEventListener('abort', onAbort, { once: true })
    clock.sleep(timeoutMs, timeout.signal).then(
      () => this.#controller.abort(new HoldfastError('task_timeout', `The attempt has taken ${timeoutMs} ms.`)),
      () => undefined, // it ended in time
    )
    const outcome = await Promise.race([handled, this.#suspended.promise, stopped.promise])
    this.#isOver = true
    timeout.abort(ENDED)
    telemetry.endAttempt(this.operation, {
      outcome: outcome.kind,
      durationSeconds: (clock.monotonic() - startedMs) / 1000,
    })
    // What was put aside can let go of what it holds.
    if (outcome.kind === 'asked' || outcome.kind === 'sleeping')
      this.#controller.abort(new HoldfastError('suspended', 'The task waits; the handler runs again.'))
    return outcome
  }

  async #handle(): Promise<AttemptOutcome> {
    const { tool, args } = this.#parts
    /** What the handler threw; its outcome is for the case that there are no more attempts. */
    let thrown: unknown
    try {
      const checked = await tool.input.check(args.arguments)
      if (checked.problem !== undefined)
        // The schema has changed since the task was made.
        return complete(this.#ending, toolFailure(`Invalid arguments for the tool "${tool.name}": ${checked.problem}`))
      this.entries = [...(args.entries ?? []), ...(await this.#journal.read(this.#attempt.task))]
      const context = new HandlerContext(this, () => (this.#replay ??= new Replay(this)))
      const outcome = await runHandler(this, tool, checked.value, context, (call, of, error) => {
        thrown = error ?? new Error('The handler threw nothing.')
        return failed(call, of, error)
      })
      if (thrown !== undefined && this.signal.aborted) return afterAbort(this.#ending, this.#reason, true)
      if (thrown !== undefined && this.#isRetryable(thrown)) return retry(this.#ending, outcome, thrown)
      return complete(this.#ending, outcome)
    } catch (error) {
      if (this.signal.aborted) return afterAbort(this.#ending, this.#reason, true)
      if (this.#isRetryable(error)) return retry(this.#ending, undefined, error)
      return fail(this.#ending, error)
    }
  }

  #isRetryable(error: unknown): boolean {
    const { retryable } = this.#parts.tool.task!
    if (retryable?.(error) === true) return true
    if (!(error instanceof HoldfastError) || error.code === 'handler_error') return false
    // A store that is away is no mistake of the handler's.
    return error.code === 'backend_failed' || ERRORS[error.code].retryable
  }

  log(level: number, message: string, fields: Record<string, unknown> | undefined): void {
    if (this.#replay?.isReplaying === true) return
    this.services.telemetry.handlerLog(this.operation, LOG_LEVELS[level]!, message, fields)
  }

  progress(done: number, total: number | undefined, message: string | undefined): void {
    if (typeof done !== 'number' || !(done > this.#lastProgress) || !Number.isFinite(done)) return
    this.#lastProgress = done
    if (this.#isOver || this.#replay?.isReplaying === true) return
    const of = total !== undefined && Number.isFinite(total) ? total : undefined
    const text = typeof message === 'string' ? message : undefined
    this.#attempt.report(text ?? (of === undefined ? String(done) : `${done} of ${of}`))
    if (this.#parts.args.isAttended === true) this.#parts.onProgress(done, of, text)
  }

  closeStream(): void {
    // A task has no stream.
  }

  checkCanAsk(): void {
    // A task is a call of a tool, and its client declared what it can be asked.
  }

  answersTo(name: string): readonly unknown[] {
    return this.#keysOf(name).flatMap((key) => (this.#answers.has(key) ? [this.#answers.get(key)] : []))
  }

  record(entry: Entry): Promise<boolean> {
    return this.#journal.record(entry)
  }

  suspend({ asks, wakeAtMs, problem }: Suspension): void {
    if (problem !== undefined) return this.#suspended.resolve(fail(this.#ending, problem))
    if (asks.size > 0)
      return this.#suspended.resolve({
        kind: 'asked',
        expireAfterMs: this.questionTtlMs,
        // A key is never used twice in a task (SEP-2663): what is asked again has another.
        asks: Array.from(asks, ([name, question]) => {
          const request = toQuestion(question)
          const artifacts = artifactsNamedIn(Buffer.from(request).toString(), this.#owner)
          return { name: this.#nextKey(name), request, artifacts }
        }),
      })
    this.#suspended.resolve({ kind: 'sleeping', wakeAfterMs: Math.max(0, wakeAtMs! - this.clock.now()) })
  }

  #keysOf(name: string): string[] {
    const keys: string[] = []
    for (let key = name, times = 2; this.#names.has(key); key = `${name}~${times++}`) keys.push(key)
    return keys
  }
  #nextKey(name: string): string {
    const times = this.#keysOf(name).length
    return times === 0 ? name : `${name}~${times + 1}`
  }
}
