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
import type { Operation, Telemetry } from '../../ports/telemetry.ts'
import { fromPortable, toPortable } from '../portable-error.ts'
import { TaskRun } from '../task-run.ts'
import type { Attempt, AttemptTask } from '../worker.ts'
import type { FromIsolate, IsolateSetup, ToIsolate } from './protocol.ts'

/** The way to the worker. */
export interface WayOut {
  tell(message: FromIsolate): void
  listen(onMessage: (message: ToIsolate) => void): void
}

type Recorded = 'recorded' | 'exists' | 'lost'

/** What an isolate has opened. */
export interface Opened {
  readonly tool: ToolDefinition
  readonly artifacts: CallServices['artifacts']
}

/** Loads its tool as the first message says, then runs what the worker sends. */
export function serveIsolate(out: WayOut, open: (setup: IsolateSetup) => Promise<Opened>): void {
  let serve: ((message: ToIsolate) => void) | undefined
  out.listen((message) => {
    if (message.kind !== 'setup') return serve?.(message)
    open(message.setup).then(
      (opened) => {
        serve = serveAttempts(out, message.setup, opened)
        out.tell({ kind: 'ready' })
      },
      (error: unknown) => out.tell({ kind: 'failed', error: toPortable(error) }),
    )
  })
}

function serveAttempts(out: WayOut, setup: IsolateSetup, { tool, artifacts }: Opened): (message: ToIsolate) => void {
  const services: CallServices = { ...createServices(out, setup), artifacts }
  const records = new Map<number, PromiseWithResolvers<Recorded>>()
  let calls = 0
  let current: AbortController | undefined

  const run = async ({ task, caller, args }: Extract<ToIsolate, { kind: 'run' }>): Promise<void> => {
    const controller = (current = new AbortController())
    let isIdle = true
    const attempt: Attempt<AttemptTask> = {
      task,
      signal: controller.signal,
      recordStep(name, value, artifacts = []) {
        const call = calls++
        const record = Promise.withResolvers<Recorded>()
        records.set(call, record)
        out.tell({ kind: 'record', call, name, value, artifacts })
        return record.promise
      },
      report: (statusMessage) => out.tell({ kind: 'report', statusMessage }),
      keepSlot: () => void (isIdle = false),
    }
    const onProgress = (done: number, total: number | undefined, message: string | undefined): void =>
      out.tell({ kind: 'progress', done, total, message })
    const outcome = await new TaskRun(attempt, { services, tool, caller, args, onProgress }).run()
    current = undefined
    records.clear()
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
      case 'recorded':
        return records.get(message.call)?.resolve(message.outcome)
      case 'not-recorded':
        return records.get(message.call)?.reject(fromPortable(message.error))
    }
  }
}

function createServices(out: WayOut, { questionTtlMs }: IsolateSetup): Omit<CallServices, 'artifacts'> {
  const telemetry: Telemetry = {
    // The worker begins and ends the operation, since it sees more of its end.
    startAttempt: (start): Operation => ({ start }),
    endAttempt: () => undefined,
    run: (_operation, fn) => fn(),
    failure: (_operation, message, error) => out.tell({ kind: 'failure', message, error: toPortable(error) }),
    handlerLog: (_operation, level, message, fields) =>
      out.tell({ kind: 'log', level, message, fields: fields && toCloneable(fields) }),
    count: (counter, label) => out.tell({ kind: 'count', counter, label }),
    ...NOTHING_SERVED,
  }
  const notify: Notify = Object.freeze({
    toolsChanged: () => out.tell({ kind: 'notify', what: 'tools' }),
    promptsChanged: () => out.tell({ kind: 'notify', what: 'prompts' }),
    resourcesChanged: () => out.tell({ kind: 'notify', what: 'resources' }),
    resourceUpdated: (uri: string) => out.tell({ kind: 'notify', what: 'resource', uri }),
  })
  return { telemetry, clock: systemClock, changes: { notify }, options: { questionTtlMs } }
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
