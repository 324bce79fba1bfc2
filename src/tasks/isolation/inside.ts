/*
 * The inside of an isolate: runs attempts of one tool, one after the other. The whole replay is here; what the store, the log
 * and the clients must hear crosses to the worker.
 */
import { getHeapStatistics } from 'node:v8'
import { inspect } from 'node:util'
import type { Notify } from '../../define/context.ts'
import type { ToolDefinition } from '../../define/tool.ts'
import type { CallServices } from '../../kernel/call.ts'
import { systemClock } from '../../ports/clock.ts'
import type { Operation, Telemetry, TraceContext } from '../../ports/telemetry.ts'
import { fromPortable, toPortable } from '../../errors/portable-error.ts'
import { Guards } from '../../resilience/guards.ts'
import { TaskRun } from '../task-run.ts'
import type { Attempt, AttemptTask } from '../worker.ts'
import type { FromIsolate, IsolateSetup, ToIsolate } from './protocol.ts'

/** The way to the worker. */
export interface WayOut {
  tell(message: FromIsolate): void
  listen(onMessage: (message: ToIsolate) => void): void
}

/** What an isolate has opened. */
export interface Opened {
  readonly tool: ToolDefinition
  readonly catalog: CallServices['catalog']
  readonly artifacts: CallServices['artifacts']
  readonly cache: CallServices['cache']
  /** Runs what belongs to a trace of the worker. */
  readonly inTrace: <T>(trace: TraceContext | undefined, fn: () => T) => T
}

/** Loads its tool as the first message says, then runs what the worker sends. */
export function serveIsolate(out: WayOut, open: (setup: IsolateSetup, telemetry: Telemetry) => Promise<Opened>): void {
  let serve: ((message: ToIsolate) => void) | undefined
  out.listen((message) => {
    if (message.kind !== 'setup') return serve?.(message)
    const telemetry = createTelemetry(out)
    open(message.setup, telemetry).then(
      (opened) => {
        serve = serveAttempts(out, message.setup, telemetry, opened)
        out.tell({ kind: 'ready' })
      },
      (error: unknown) => out.tell({ kind: 'failed', error: toPortable(error) }),
    )
  })
}

function serveAttempts(
  out: WayOut,
  setup: IsolateSetup,
  telemetry: Telemetry,
  { tool, inTrace, ...opened }: Opened,
): (message: ToIsolate) => void {
  const calls = new Map<number, PromiseWithResolvers<string>>()
  let count = 0
  const ask = (toMessage: (call: number) => FromIsolate): Promise<string> => {
    const call = count++
    const answer = Promise.withResolvers<string>()
    calls.set(call, answer)
    out.tell(toMessage(call))
    return answer.promise
  }
  const tasks: CallServices['tasks'] = {
    start: async ({ tool: { name }, ...start }) => ({
      id: await ask((call) => ({ kind: 'start', call, tool: name, start })),
    }),
  }
  const limits: CallServices['limits'] = {
    async takeModelTokens(_caller, _tool, estimate) {
      const taken = await ask((call) => ({ kind: 'take_tokens', call, tokens: estimate() }))
      return {
        settle: async (usedTokens) => {
          if (taken !== '') out.tell({ kind: 'settle_tokens', taken, usedTokens })
        },
      }
    },
  }
  const services: CallServices = { telemetry, ...createServices(out, setup, telemetry), ...opened, tasks, limits }
  let current: AbortController | undefined

  const run = async ({ task, caller, args, sealedTask, trace }: Extract<ToIsolate, { kind: 'run' }>): Promise<void> => {
    const controller = (current = new AbortController())
    let isIdle = true
    const attempt: Attempt<AttemptTask> = {
      task,
      signal: controller.signal,
      recordStep: (name, value, artifacts = []) =>
        ask((call) => ({ kind: 'record', call, name, value, artifacts })) as ReturnType<Attempt['recordStep']>,
      report: (statusMessage) => out.tell({ kind: 'report', statusMessage }),
      keepSlot: () => void (isIdle = false),
    }
    const onProgress = (done: number, total: number | undefined, message: string | undefined): void =>
      out.tell({ kind: 'progress', done, total, message })
    const parts = { services, tool, caller, args, sealedTask: () => sealedTask, onProgress }
    const outcome = await inTrace(trace, () => new TaskRun(attempt, parts).run())
    current = undefined
    calls.clear()
    out.tell({ kind: 'ended', outcome, isIdle, heapBytes: getHeapStatistics().used_heap_size })
  }

  return (message) => {
    switch (message.kind) {
      case 'run':
        run(message).catch((error: unknown) => {
          throw error // a fault of ours: ends the isolate
        })
        return
      case 'abort':
        return current?.abort(fromPortable(message.reason))
      case 'answer':
        return calls.get(message.call)?.resolve(message.value)
      case 'refusal':
        return calls.get(message.call)?.reject(fromPortable(message.error))
    }
  }
}

function createTelemetry(out: WayOut): Telemetry {
  return {
    // The worker begins and ends the operation, since it sees more of its end.
    startAttempt: (start): Operation => ({ start }),
    endAttempt: () => undefined,
    run: (_operation, fn) => fn(),
    traceOf: () => undefined,
    failure: (_operation, message, error) => out.tell({ kind: 'failure', message, error: toPortable(error) }),
    handlerLog: (_operation, level, message, fields) =>
      out.tell({ kind: 'log', level, message, fields: fields && toCloneable(fields) }),
    count: (counter, label) => out.tell({ kind: 'count', counter, label }),
    modelUsed: (use) => out.tell({ kind: 'model', use }),
    cached: (cache, event) => out.tell({ kind: 'cached', cache, event }),
    startUse: () => undefined,
    dependencyUsed: (dependency, outcome, durationSeconds) =>
      out.tell({ kind: 'used', dependency, outcome, durationSeconds }),
    breakerChanged: (dependency, state) => out.tell({ kind: 'breaker', dependency, state }),
    ...NOTHING_SERVED,
  }
}

function createServices(
  out: WayOut,
  { questionTtlMs }: IsolateSetup,
  telemetry: Telemetry,
): Pick<CallServices, 'clock' | 'changes' | 'options' | 'guards'> {
  const notify: Notify = Object.freeze({
    toolsChanged: () => out.tell({ kind: 'notify', what: 'tools' }),
    promptsChanged: () => out.tell({ kind: 'notify', what: 'prompts' }),
    resourcesChanged: () => out.tell({ kind: 'notify', what: 'resources' }),
    resourceUpdated: (uri: string) => out.tell({ kind: 'notify', what: 'resource', uri }),
  })
  // It learns by itself what is down: what its worker has learnt stays there.
  const guards = new Guards({ clock: systemClock, telemetry })
  return { clock: systemClock, changes: { notify }, options: { questionTtlMs }, guards }
}

const notHere = (): never => {
  throw new Error('No request is served in an isolate.')
}
const NOTHING_SERVED = {
  start: notHere,
  end: notHere,
  refused: notHere,
  sessionEnded: notHere,
  queued: notHere,
  sourceChanged: notHere,
  queueChanged: notHere,
}

/** What a handler logs may hold what can't cross; then it goes as Node would print it. */
function toCloneable(fields: object): object {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => {
      try {
        return [name, structuredClone(value) as unknown]
      } catch {
        return [name, inspect(value, { depth: 4, breakLength: Infinity })]
      }
    }),
  )
}
