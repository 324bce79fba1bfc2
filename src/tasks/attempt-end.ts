import { artifactsNamedIn } from '../artifacts/keys.ts'
import type { ToolDefinition } from '../define/tool.ts'
import { HoldfastError } from '../errors/holdfast-error.ts'
import { ERRORS } from '../errors/table.ts'
import type { Outcome } from '../kernel/invocation.ts'
import { rpcCode } from '../kernel/rpc.ts'
import { toolFailure } from '../kernel/tool-result.ts'
import type { Operation, Telemetry } from '../ports/telemetry.ts'
import { toError, toResult } from './payload.ts'
import type { AttemptOutcome, AttemptTask } from './worker.ts'

/** First wait before another attempt; it doubles. */
const FIRST_BACKOFF_MS = 1_000

/** An attempt that ends. */
export interface EndingAttempt {
  readonly task: AttemptTask
  readonly owner: string
  readonly tool: ToolDefinition
  readonly requestId: string
  readonly era: 'modern' | 'legacy'
  readonly telemetry: Telemetry
  readonly operation: Operation
}

/** The handler has come to something. @param dead it was one failure too many. */
export function complete({ owner }: EndingAttempt, outcome: Outcome, dead?: 'attempts'): AttemptOutcome {
  const result = toResult(outcome)
  const artifacts = artifactsNamedIn(Buffer.from(result).toString(), owner)
  return { kind: 'completed', result, artifacts, ...(dead === undefined ? {} : { dead }) }
}

/** Another attempt after a wait, if one is left; else the outcome, or the error. */
export function retry(ending: EndingAttempt, outcome: Outcome | undefined, error?: unknown): AttemptOutcome {
  const { attempts, maxAttempts } = ending.task
  if (attempts + 1 >= maxAttempts)
    return outcome === undefined ? fail(ending, error, 'attempts') : complete(ending, outcome, 'attempts')
  const { maxBackoffMs } = ending.tool.task!
  // While a dependency is left alone no attempt is wasted on it.
  const isUnavailable = error instanceof HoldfastError && error.code === 'dependency_unavailable'
  const awayMs = (isUnavailable && Number(error.data?.retryAfterMs)) || 0
  // Full jitter (Brooker, "Exponential Backoff And Jitter").
  const jitterMs = Math.random() * Math.min(maxBackoffMs, FIRST_BACKOFF_MS * 2 ** attempts)
  return { kind: 'retry', runAfterMs: Math.min(maxBackoffMs, awayMs + jitterMs) }
}

/** The task can't be done. */
export function fail(
  { telemetry, operation, requestId, tool, era }: EndingAttempt,
  error: unknown,
  dead: 'attempts' | 'error' = 'error',
): AttemptOutcome {
  const isWire = error instanceof HoldfastError && ERRORS[error.code].kind === 'wire'
  if (!isWire) telemetry.failure(operation, `The tool "${tool.name}" failed.`, error)
  const told = isWire ? error : new HoldfastError('internal_error', `The server failed (request ${requestId}).`)
  const { retryable } = ERRORS[told.code]
  return {
    kind: 'failed',
    dead,
    error: toError({
      code: rpcCode(told, era),
      message: told.message,
      data: { ...told.data, code: told.code, retryable, requestId },
    }),
  }
}

/** What becomes of an attempt that was told to stop. @param hasSettled nothing of the handler runs any more. */
export function afterAbort(ending: EndingAttempt, reason: HoldfastError, hasSettled: boolean): AttemptOutcome {
  const { telemetry, operation, tool, requestId } = ending
  switch (reason.code) {
    case 'task_cancelled':
      return { kind: 'cancelled' }
    case 'task_timeout':
      telemetry.failure(operation, `The tool "${tool.name}" took too long.`, reason)
      return retry(ending, toolFailure(`The tool "${tool.name}" took too long (request ${requestId}).`))
    default:
      // A worker that stops gives back what has settled; what still runs is another's only when its lease has run out.
      return hasSettled ? { kind: 'released' } : { kind: 'abandoned' }
  }
}
