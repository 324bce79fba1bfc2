import type { Checked } from '../define/compile-schema.ts'
import type { HeaderParameter } from '../define/header-parameters.ts'
import type { ToolDefinition } from '../define/tool.ts'
import { quote } from '../define/names.ts'
import { HoldfastError, ToolError } from '../errors/holdfast-error.ts'
import type { Context } from '../define/context.ts'
import type { Call } from './call.ts'
import { callThroughCache } from './cached-tool.ts'
import { callAsTask } from './call-task.ts'
import { inCall } from './current-call.ts'
import type { RequestHead } from './exchange.ts'
import { decodeHeader } from './headers.ts'
import { withIdempotencyKey } from './idempotency.ts'
import type { Invocation, Outcome } from './invocation.ts'
import { isObject, isPromise, OWN_META, type JsonObject } from './protocol.ts'
import { checkNeeds } from './question.ts'
import { contextOf, replayable } from './request-replay.ts'
import { requireScopes } from './scopes.ts'
import { BadResult, toolFailure, toToolOutcome } from './tool-result.ts'

/**
 * `tools/call`: look up, compare headers, check the arguments, run, render. Synchronous as long as the handler is, since a
 * promise for each stage would cost more than the stages.
 */
export function callTool(invocation: Invocation): Outcome | PromiseLike<Outcome> {
  const { params, meta, era } = invocation.facts
  const name = params.name
  if (typeof name !== 'string') throw new HoldfastError('invalid_params', '`params.name` must be a string.')
  const tool = invocation.services.catalog.tools.get(name)
  if (tool === undefined)
    throw new HoldfastError('invalid_params', `There is no tool ${quote(name)}. List them with tools/list.`)
  const args = params.arguments ?? {}
  if (!isObject(args)) throw new HoldfastError('invalid_params', '`params.arguments` must be an object.')
  if (era === 'modern' && tool.headerParameters.length > 0 && invocation.exchange.head !== undefined)
    checkHeaderParameters(tool.headerParameters, args, invocation.exchange.head)
  if (tool.scopes !== undefined) requireScopes(invocation, tool, `The tool ${quote(name)}`)
  const run = (): Outcome | PromiseLike<Outcome> => checkAndRun(invocation, tool, args)
  const key = meta[OWN_META.idempotencyKey]
  // A later leg of a call is kept by its `requestState`, whatever key the first one had.
  // A task from the start is kept by the task store.
  const isKeptElsewhere = tool.task?.start === 'immediate' || (era === 'modern' && params.requestState !== undefined)
  return key === undefined || isKeptElsewhere
    ? replayable(invocation, run)
    : withIdempotencyKey(invocation, key, tool.name, args, run)
}

function checkAndRun(invocation: Invocation, tool: ToolDefinition, args: JsonObject): Outcome | PromiseLike<Outcome> {
  const checked = tool.input.check(args)
  return isPromise(checked)
    ? checked.then((done) => runTool(invocation, tool, args, done))
    : runTool(invocation, tool, args, checked)
}

function runTool(
  invocation: Invocation,
  tool: ToolDefinition,
  given: JsonObject,
  checked: Checked,
): Outcome | PromiseLike<Outcome> {
  if (checked.problem !== undefined) {
    const message = `Invalid arguments for the tool "${tool.name}": ${checked.problem}`
    // Since 2025-11-25 the model is told, so that it can mend its call (SEP-1303).
    if (invocation.facts.revision < '2025-11-25') throw new HoldfastError('invalid_params', message)
    return toolFailure(message)
  }
  if (tool.needs !== undefined) {
    try {
      checkNeeds(invocation.facts.client, tool.needs)
    } catch (error) {
      return failed(invocation, tool, error)
    }
  }
  const args = checked.value
  // A leg after one that was answered nothing is a call like the first: else a client could have the handler run for ever.
  const runInPlace = (): Outcome | PromiseLike<Outcome> =>
    tool.cache === undefined
      ? runHandler(invocation, tool, args, contextOf(invocation))
      : callThroughCache(invocation, tool, given, args, (call, onThrown) =>
          runHandler(call, tool, args, contextOf(invocation, call), (of, failing, error) =>
            onThrown(error, failed(of, failing, error)),
          ),
        )
  const run = (): Outcome | PromiseLike<Outcome> =>
    tool.task === undefined ? runInPlace() : callAsTask(invocation, tool, given, runInPlace)
  if (invocation.isPaid) return run()
  const charging = invocation.services.limits?.chargeCall(invocation.exchange, tool.name, args)
  return charging === undefined ? run() : charging.then(run)
}

/**
 * Runs the handler of a tool, and renders what it comes to.
 * @param onError what a thrown error comes to; throws what is to be told as a JSON-RPC error.
 */
export function runHandler(
  call: Call,
  tool: ToolDefinition,
  args: unknown,
  ctx: Context,
  onError: typeof failed = failed,
): Outcome | PromiseLike<Outcome> {
  const { telemetry } = call.services
  let value: unknown
  try {
    value = inCall(call, () => telemetry.run(call.operation, () => tool.run(args as never, ctx)))
    if (!isPromise(value)) {
      const outcome = toToolOutcome(tool, value, call)
      return isPromise(outcome) ? outcome.then(undefined, (error: unknown) => onError(call, tool, error)) : outcome
    }
  } catch (error) {
    return onError(call, tool, error)
  }
  const work = value
  return new Promise((resolve, reject) => {
    call.onPutAside = resolve
    const fail = (error: unknown): void => {
      try {
        resolve(onError(call, tool, error))
      } catch (told) {
        reject(told)
      }
    }
    const finish = (result: unknown): void => {
      try {
        const outcome = toToolOutcome(tool, result, call)
        if (isPromise(outcome)) outcome.then(resolve, fail)
        else resolve(outcome)
      } catch (error) {
        fail(error)
      }
    }
    // A thenable of another make (a query builder, say) promises less than a promise does.
    Promise.resolve(work).then(finish, fail)
  })
}

/** Failures of asking that the model may be told of. */
const ASKING_FAILURES: ReadonlySet<string> = new Set(['client_capability_missing', 'client_refused'])

/** Failures that are answered as such: the call may be served later, or by another node; or the handler wants it so. */
const PLAIN_FAILURES: ReadonlySet<string> = new Set(['draining', 'overloaded', 'state_unavailable', 'handler_error'])

/**
 * Failures of what lies outside, and limits on its use: counted, and the former told to the operator by the breaker. The model
 * can do something else meanwhile.
 */
const OUTSIDE_FAILURES: ReadonlySet<string> = new Set([
  'dependency_unavailable',
  'dependency_timeout',
  'rate_limited',
  'limits_unavailable',
  'cost_above_limit',
])

/** Of an error that is not meant for the model, as much as helps it. */
function whatFailed(error: unknown): string {
  if (error instanceof BadResult) return 'returned a result that it may not return'
  if (error instanceof HoldfastError && error.code === 'backend_failed')
    return 'could not reach a store that it needs; try again in some seconds'
  return 'failed unexpectedly'
}

/** A thrown error is a result that the model reads; only a `ToolError`'s message is meant for it. */
export function failed(call: Call, tool: ToolDefinition, error: unknown): Outcome {
  if (error instanceof ToolError) return toolFailure(error.message)
  if (error instanceof HoldfastError && ASKING_FAILURES.has(error.code)) {
    // 2025 has no code for it; a result is what its clients can read.
    if (error.code === 'client_capability_missing' && call.facts.era === 'modern') throw error
    return toolFailure(error.message)
  }
  if (error instanceof HoldfastError && PLAIN_FAILURES.has(error.code)) throw error
  if (error instanceof HoldfastError && OUTSIDE_FAILURES.has(error.code))
    return toolFailure(`${error.message} (request ${call.requestId})`)
  const { telemetry } = call.services
  if (!call.isDone) telemetry.failure(call.operation, `The tool "${tool.name}" failed.`, error)
  return toolFailure(`The tool "${tool.name}" ${whatFailed(error)} (request ${call.requestId}).`)
}

/** MCP 2026-07-28, tools: a value in the arguments needs its header, and the header must say the same. */
function checkHeaderParameters(parameters: readonly HeaderParameter[], args: JsonObject, head: RequestHead): void {
  for (const { header, path, type } of parameters) {
    const value = path.reduce<unknown>(
      (node, key) => (isObject(node) && Object.hasOwn(node, key) ? node[key] : undefined),
      args,
    )
    const raw = head.header(header)
    if (value === undefined || value === null) {
      if (raw !== undefined)
        throw new HoldfastError('header_mismatch', `The header ${header} is there, but \`${path.join('.')}\` is not.`)
      continue
    }
    if (raw === undefined)
      throw new HoldfastError('header_mismatch', `The header ${header} is missing; it must say \`${path.join('.')}\`.`)
    const text = decodeHeader(raw, header)
    const isSame =
      type === 'integer'
        ? typeof value === 'number' && text.trim() !== '' && Number(text) === value
        : (typeof value === 'string' || typeof value === 'boolean') && text === String(value)
    if (!isSame)
      throw new HoldfastError('header_mismatch', `The header ${header} does not say the same as \`${path.join('.')}\`.`)
  }
}
