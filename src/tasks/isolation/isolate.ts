import type { Notify } from '../../define/context.ts'
import { HoldfastError } from '../../errors/holdfast-error.ts'
import type { TakenTokens } from '../../kernel/limits.ts'
import type { TaskCaller, TaskStart } from '../../kernel/task-engine.ts'
import type { Clock } from '../../ports/clock.ts'
import type { Operation, Telemetry } from '../../ports/telemetry.ts'
import type { TaskArguments } from '../payload.ts'
import { fromPortable, toPortable } from '../../errors/portable-error.ts'
import type { Attempt, AttemptOutcome, AttemptTask } from '../worker.ts'
import { startHost, type Host, type HostOptions, type IsolationKind } from './host.ts'
import type { FromIsolate } from './protocol.ts'

/** Its module must be loaded by then. */
const START_TIMEOUT_MS = 60_000
/** Beyond the grace of an attempt: what an isolate may take to say how it ended. */
const ANSWER_MS = 1_000
/** An isolate whose heap is as full after an attempt is not used again. */
const FULL_SHARE = 0.7

/** What one attempt is run with. */
export interface IsolatedRun {
  readonly attempt: Attempt
  readonly caller: TaskCaller
  readonly args: TaskArguments
  readonly operation: Operation
  readonly sealedTask: string
  readonly timeoutMs: number
  readonly graceMs: number
  /** Starts a task of another tool; resolves to its id. */
  readonly start: (tool: string, start: Omit<TaskStart, 'tool'>) => Promise<string>
  /** Takes tokens of models from the limits; `undefined`: nothing limits them. */
  readonly takeTokens: (tokens: number) => Promise<TakenTokens> | undefined
  readonly onProgress: (done: number, total: number | undefined, message: string | undefined) => void
}

/** How an attempt in an isolate has ended. */
export type IsolatedEnd =
  | { readonly kind: 'ended'; readonly outcome: AttemptOutcome }
  /** It did not stop when it was told to, and was ended. */
  | { readonly kind: 'killed'; readonly reason: HoldfastError }
  /** It has ended by itself. */
  | { readonly kind: 'died'; readonly why: string }

/** What an isolate works with. */
export interface IsolateParts {
  readonly kind: IsolationKind
  readonly host: Omit<HostOptions, 'onMessage'>
  readonly clock: Clock
  readonly telemetry: Telemetry
  readonly notify: Notify
  /** It has opened the store of artifacts. */
  readonly onArtifactsUsed: () => void
}

/** A thread or a process that runs attempts of one tool, one at a time. */
export class Isolate {
  readonly #parts: IsolateParts
  readonly #host: Host
  readonly #started = Promise.withResolvers<void>()
  #run: IsolatedRun | undefined
  /** Tokens of models that the attempt has taken, until it says what it used of them. */
  readonly #taken = new Map<string, TakenTokens>()
  #takenCount = 0
  #onEnded: ((outcome: AttemptOutcome) => void) | undefined
  #onDied: ((why: string) => void) | undefined
  #isUsable = true

  private constructor(parts: IsolateParts) {
    this.#parts = parts
    this.#host = startHost(parts.kind, { ...parts.host, onMessage: (message) => this.#onMessage(message) })
    void this.#host.ended.then((why) => {
      this.#isUsable = false
      this.#onDied?.(why)
      this.#started.reject(new Error(`The ${parts.kind} has ended: ${why}.`))
    })
  }

  /**
   * Starts one; resolves when it has loaded its module.
   * @throws what loading the module throws.
   */
  static async start(parts: IsolateParts): Promise<Isolate> {
    const isolate = new Isolate(parts)
    const late = new AbortController()
    parts.clock.sleep(START_TIMEOUT_MS, late.signal).then(
      () => isolate.#started.reject(new Error(`The module was not loaded within ${START_TIMEOUT_MS} ms.`)),
      () => undefined, // it was
    )
    try {
      await isolate.#started.promise
      return isolate
    } catch (error) {
      await isolate.kill()
      throw error
    } finally {
      late.abort()
    }
  }

  /** Whether another attempt can be run in it. */
  get isUsable(): boolean {
    return this.#isUsable
  }

  async kill(): Promise<void> {
    this.#isUsable = false
    await this.#host.kill()
  }

  /** Runs an attempt; never rejects. What does not stop in time is ended. */
  async run(run: IsolatedRun): Promise<IsolatedEnd> {
    const { clock, telemetry } = this.#parts
    const { attempt, caller, args, sealedTask, timeoutMs, graceMs } = run
    const trace = telemetry.traceOf(run.operation)
    const { signal } = attempt
    const over = new AbortController()
    const end = Promise.withResolvers<IsolatedEnd>()
    const killAfter = (ms: number, reason: () => HoldfastError): void => {
      clock.sleep(ms, over.signal).then(
        () => end.resolve({ kind: 'killed', reason: reason() }),
        () => undefined, // it ended in time
      )
    }
    const onAbort = (): void => {
      this.#host.tell({ kind: 'abort', reason: toPortable(signal.reason) })
      killAfter(graceMs + ANSWER_MS, () => signal.reason as HoldfastError)
    }
    this.#run = run
    this.#onEnded = (outcome) => end.resolve({ kind: 'ended', outcome })
    this.#onDied = (why) => end.resolve({ kind: 'died', why })
    this.#host.tell({ kind: 'run', task: toIsolated(attempt), caller, args, sealedTask, trace })
    if (signal.aborted) onAbort()
    else signal.addEventListener('abort', onAbort, { once: true })
    killAfter(timeoutMs + graceMs + ANSWER_MS, () =>
      signal.aborted
        ? (signal.reason as HoldfastError)
        : new HoldfastError('task_timeout', `The attempt has taken ${timeoutMs} ms.`),
    )
    try {
      const ended = await end.promise
      if (ended.kind === 'killed' || !this.#isUsable) await this.kill()
      return ended
    } finally {
      over.abort()
      signal.removeEventListener('abort', onAbort)
      this.#run = undefined
      this.#taken.clear() // of a call that was cut off nobody knows what it used
      this.#onEnded = undefined
      this.#onDied = undefined
    }
  }

  #onMessage(message: FromIsolate): void {
    const { telemetry, notify, onArtifactsUsed } = this.#parts
    const run = this.#run
    switch (message.kind) {
      case 'ready':
        return this.#started.resolve()
      case 'failed':
        return this.#started.reject(fromPortable(message.error))
      case 'ended': {
        const { outcome, isIdle, heapBytes } = message
        const isFull = heapBytes > this.#parts.host.maxHeapMb * 1024 * 1024 * FULL_SHARE
        if (!isIdle || isFull) this.#isUsable = false
        return this.#onEnded?.(outcome)
      }
      case 'record': {
        const { call, name, value, artifacts } = message
        return void this.#answer(call, (running) => running.attempt.recordStep(name, value, artifacts))
      }
      case 'start': {
        const { call, tool, start } = message
        return void this.#answer(call, (running) => running.start(tool, start))
      }
      case 'report':
        return run?.attempt.report(message.statusMessage)
      case 'progress':
        return run?.onProgress(message.done, message.total, message.message)
      case 'log':
        if (run !== undefined) telemetry.handlerLog(run.operation, message.level, message.message, message.fields)
        return
      case 'failure':
        return telemetry.failure(run?.operation, message.message, fromPortable(message.error))
      case 'cached':
        return telemetry.cached(message.cache, message.event)
      case 'count':
        return telemetry.count(message.counter, message.label)
      case 'model':
        return telemetry.modelUsed(message.use)
      case 'take_tokens': {
        const { call, tokens } = message
        return void this.#answer(call, async (running) => this.#keepTaken(await running.takeTokens(tokens)))
      }
      case 'settle_tokens':
        void this.#taken.get(message.taken)?.settle(message.usedTokens)
        this.#taken.delete(message.taken)
        return
      case 'used':
        return telemetry.dependencyUsed(message.dependency, message.outcome, message.durationSeconds)
      case 'breaker':
        return telemetry.breakerChanged(message.dependency, message.state)
      case 'artifacts-used':
        return onArtifactsUsed()
      case 'notify':
        if (message.what === 'resource') notify.resourceUpdated(message.uri)
        else notify[`${message.what}Changed`]()
    }
  }

  #keepTaken(taken: TakenTokens | undefined): string {
    if (taken === undefined) return ''
    const name = String(++this.#takenCount)
    this.#taken.set(name, taken)
    return name
  }

  async #answer(call: number, work: (run: IsolatedRun) => Promise<string>): Promise<void> {
    if (this.#run === undefined) return // of an attempt that is over
    try {
      this.#host.tell({ kind: 'answer', call, value: await work(this.#run) })
    } catch (error) {
      this.#host.tell({ kind: 'refusal', call, error: toPortable(error) })
    }
  }
}

/** A message takes whole buffers along, of which these may be small parts. */
const own = (bytes: Uint8Array | undefined): Uint8Array | undefined => bytes && new Uint8Array(bytes)

function toIsolated({ task: { id, fence, attempts, crashes, maxAttempts, journal } }: Attempt): AttemptTask {
  const entries = journal.map(({ name, kind, request, value }) => ({
    name,
    kind,
    request: own(request),
    value: own(value),
  }))
  return { id, fence, attempts, crashes, maxAttempts, journal: entries }
}
