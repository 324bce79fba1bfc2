import { createHash } from 'node:crypto'
import type { Principal } from '../define/context.ts'
import type { ToolDefinition } from '../define/tool.ts'
import type { ResolvedTrigger } from '../define/trigger.ts'
import { HoldfastError } from '../errors/holdfast-error.ts'
import { ERRORS } from '../errors/table.ts'
import type { JsonBounds } from '../kernel/json.ts'
import type { JsonObject } from '../kernel/protocol.ts'
import type { Clock } from '../ports/clock.ts'
import type { MessageSource, SourceEvents } from '../ports/message-source.ts'
import type { Telemetry } from '../ports/telemetry.ts'

/** Starts a task, or finds the one of this key; resolves when it is committed. */
export type StartTask = (
  tool: ToolDefinition,
  args: JsonObject,
  options: { readonly idempotencyKey: string; readonly principal: Principal },
) => Promise<unknown>

/** What triggers work with. */
export interface TriggerParts {
  readonly triggers: readonly ResolvedTrigger[]
  readonly startTask: StartTask
  /** Opens what a trigger's URL names. @throws {HoldfastError} `invalid_option` */
  readonly openSource: (url: string, trigger: string, events: SourceEvents) => Promise<MessageSource>
  readonly clock: Clock
  readonly telemetry: Pick<Telemetry, 'count' | 'failure' | 'sourceChanged'>
  readonly bounds: JsonBounds
}

/**
 * Waits for a task to be started.
 * @returns why it never can be, if it can't.
 * @throws what may go well another time.
 */
export async function refusalOf(started: Promise<unknown>): Promise<string | undefined> {
  try {
    await started
    return undefined
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error
    // The first delivery has its task. This one was given other arguments, by another release of the trigger.
    if (error.code === 'idempotency_key_reused') return undefined
    const { kind, retryable } = ERRORS[error.code]
    if (kind === 'wire' && !retryable) return error.message
    throw error
  }
}

/** A task's key: equal for what must have one task together. One that is too long, or can't be shown, is hashed. */
export function keyOf(trigger: string, id: string): string {
  const isPlain = id.length <= 160 && /^[\x20-\x7e]+$/.test(id)
  return `trigger/${trigger}/${isPlain ? id : `sha256:${createHash('sha256').update(id).digest('hex')}`}`
}

/**
 * Arguments of the tool, checked.
 * @param given what `toArguments` returned; JSON already, without one
 */
export async function checkArguments(
  tool: ToolDefinition,
  given: unknown,
  isJson: boolean,
): Promise<{ args: JsonObject } | { problem: string }> {
  // The handler gets what JSON leaves of them.
  const args: unknown = isJson ? given : JSON.parse(JSON.stringify(given) ?? 'null')
  if (typeof args !== 'object' || args === null || Array.isArray(args))
    return { problem: 'the arguments are no object' }
  const { problem } = await tool.input.check(args)
  return problem === undefined ? { args: args as JsonObject } : { problem: `the arguments do not fit: ${problem}` }
}
