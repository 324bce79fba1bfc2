import { quote } from '../define/names.ts'
import type { ToolDefinition } from '../define/tool.ts'
import { HoldfastError } from '../errors/holdfast-error.ts'
import { readIdempotencyKey } from './idempotency.ts'
import type { Invocation, Outcome } from './invocation.ts'
import { OWN_META, type JsonObject } from './protocol.ts'
import type { ClientRequest } from './question.ts'
import { toInputRequired } from './input-required.ts'
import { answersOf, sealRequestState, type Entry } from './request-state.ts'
import { ClientRefusal, type TaskEngine, type TaskView } from './task-engine.ts'
import { createTaskOutcome, declaresTasks, requireTasks } from './task-methods.ts'

/** Entry of a record that names the task that a call waits for. */
const TASK_ENTRY = '~task'
const READ_AGAIN_MS = 1000
/** How often a 2025 client is asked the same where its answers don't fit. */
const MAX_ASKS = 3
/** A question that is out, in place of how often it was. */
const BUSY = -1

/**
 * Serves the call of a tool that runs as a task. A client that declares the extension gets the handle; for another the node
 * waits, streams progress, relays questions, and answers with what the task comes to.
 *
 * @param runInPlace runs the handler here: the part before `ctx.detach()`.
 */
export function callAsTask(
  invocation: Invocation,
  tool: ToolDefinition,
  args: JsonObject,
  runInPlace: () => Outcome | PromiseLike<Outcome>,
): Outcome | PromiseLike<Outcome> {
  const { support, start } = tool.task!
  if (support === 'required' && invocation.facts.era === 'modern')
    requireTasks(invocation.facts.client, `The tool ${quote(tool.name)}`)
  const waitsFor = invocation.record.find(([name]) => name === TASK_ENTRY)?.[2] as string | undefined
  if (waitsFor !== undefined) return goOnWaiting(invocation, waitsFor)
  invocation.detachable = { tool, arguments: args }
  return start === 'detach' ? runInPlace() : startTask(invocation, [])
}

/** The handler of a call has said `ctx.detach()`: the rest is a task. */
export function detachCall(invocation: Invocation, entries: readonly Entry[]): Promise<Outcome> {
  return startTask(invocation, entries)
}

async function startTask(invocation: Invocation, entries: readonly Entry[]): Promise<Outcome> {
  const { facts, principal, requestId, detachable, signal } = invocation
  const isAttended = !declaresTasks(facts.client)
  const key = facts.meta[OWN_META.idempotencyKey]
  const { traceparent } = facts.meta
  const task = await engineOf(invocation).start({
    ...detachable!,
    entries,
    caller: {
      principal,
      client: facts.client,
      revision: facts.revision,
      requestId,
      traceparent: typeof traceparent === 'string' ? traceparent : undefined,
    },
    // A call that detaches is kept by its key as a whole.
    idempotencyKey:
      key === undefined || detachable!.tool.task!.start === 'detach' ? undefined : readIdempotencyKey(key),
    isAttended,
  })
  if (!isAttended) return createTaskOutcome(task)
  if (signal.aborted) await leave(invocation, task.id)
  return waitForTask(invocation, task.id, key === undefined)
}

const engineOf = ({ services }: Invocation): TaskEngine => services.tasks!

/** A later leg of a call that waits for a task: brings the answers, and waits on. */
async function goOnWaiting(invocation: Invocation, id: string): Promise<Outcome> {
  if (!(await engineOf(invocation).answer(id, invocation.principal, answersOf(invocation)))) throw gone()
  return waitForTask(invocation, id)
}

/**
 * Waits until a task has ended, or asks something that the client must be told by an answer (2026-07-28). Whoever goes away
 * meanwhile has it cancelled; where a node dies, the task ends when nobody has attended it for a while.
 *
 * @param isNew the task was made for this call, a moment ago.
 */
export async function waitForTask(invocation: Invocation, id: string, isNew = false): Promise<Outcome> {
  const engine = engineOf(invocation)
  const { signal, hold, principal, services, facts } = invocation
  let changed = Promise.withResolvers<void>()
  const wake = (): void => changed.resolve()
  const unwatch = engine.watch(id, {
    onChange: wake,
    onProgress: (done, total, message) => invocation.progress(done, total, message),
  })
  const unattend = engine.attend(id, isNew)
  let keepMs: number | undefined
  let isDraining = false
  signal.addEventListener('abort', wake)
  invocation.onDrain = () => {
    isDraining = true
    wake()
  }
  const relayed = new Map<string, number>()
  hold?.rest()
  try {
    await invocation.shareWaiting(id)
    for (;;) {
      if (signal.aborted) return await leave(invocation, id)
      if (isDraining && (await invocation.handOver())) throw new HoldfastError('draining')
      isDraining = false
      changed = Promise.withResolvers()
      const task = await insist(invocation, () => engine.get(id, principal))
      if (task === undefined) throw gone()
      const end = toEnd(task)
      if (end !== undefined) return end
      if (task.requests.size > 0 && facts.era === 'modern') {
        keepMs = services.options.questionTtlMs
        return await askForTask(invocation, task)
      }
      for (const [name, request] of task.requests) {
        const times = relayed.get(name) ?? 0
        if (times === BUSY) continue
        relayed.set(name, BUSY)
        void relay(invocation, id, name, request, times + 1 >= MAX_ASKS).then(() => {
          relayed.set(name, times + 1)
          wake()
        })
      }
      await changed.promise
    }
  } catch (error) {
    if (!signal.aborted) throw error
    return await leave(invocation, id)
  } finally {
    signal.removeEventListener('abort', wake)
    invocation.onDrain = undefined
    unwatch()
    unattend(keepMs)
    hold?.resume()
  }
}

/** 2026-07-28: the client is asked by an answer, and calls again. */
async function askForTask(invocation: Invocation, { id, requests }: TaskView): Promise<Outcome> {
  const requestState = await sealRequestState(invocation, [[TASK_ENTRY, 'task', id]], [...requests.keys()], false)
  return toInputRequired(invocation, requests, requestState)
}

/** 2025: asks the client what the task asks, on the stream of the call that waits. Never rejects. */
async function relay(
  invocation: Invocation,
  id: string,
  name: string,
  request: ClientRequest,
  isLast: boolean,
): Promise<void> {
  const { services, principal, operation, signal } = invocation
  try {
    const answer = await services.clientRequests.ask(invocation, name, request).then(
      (answered) => answered.answer,
      (error: unknown) => {
        if (error instanceof HoldfastError && error.code === 'client_refused') return new ClientRefusal(error.message)
        throw error
      },
    )
    await insist(invocation, () => engineOf(invocation).answer(id, principal, { [name]: answer }, isLast))
  } catch (error) {
    if (!signal.aborted) services.telemetry.failure(operation, 'A question of a task could not be asked.', error)
  }
}

/** A store that is away for a moment ends no call that waits for a task. @throws the reason of the call's signal. */
async function insist<T>({ services, signal, operation }: Invocation, work: () => Promise<T>): Promise<T> {
  for (;;) {
    signal.throwIfAborted()
    try {
      return await work()
    } catch (error) {
      services.telemetry.failure(operation, 'The store of tasks could not be asked.', error)
      await services.clock.sleep(READ_AGAIN_MS * (0.5 + Math.random()), signal)
    }
  }
}

/** What a call gets of a task that has ended. */
function toEnd({ status, result, error }: TaskView): Outcome | undefined {
  switch (status) {
    case 'completed':
      return result!
    case 'failed':
      throw new HoldfastError('task_failed', error!.message, { rpc: error!.code, data: error!.data ?? {} })
    case 'cancelled':
      throw new HoldfastError('task_failed', 'The task of this call was cancelled.')
    default:
      return undefined
  }
}

/** The client has gone, or has cancelled. With an idempotency key it may come back: then the task ends only when nobody does. */
async function leave(invocation: Invocation, id: string): Promise<never> {
  const { signal, facts, services, operation, principal } = invocation
  const isEnded = !(signal.reason instanceof HoldfastError && signal.reason.code === 'draining')
  if (isEnded && facts.meta[OWN_META.idempotencyKey] === undefined)
    await engineOf(invocation)
      .cancel(id, principal)
      .catch((error: unknown) =>
        services.telemetry.failure(operation, 'A task that nobody waits for could not be cancelled yet.', error),
      )
  throw signal.reason
}

const gone = (): HoldfastError =>
  new HoldfastError('request_state_expired', 'What this call waited for is no longer kept. Call again.')
