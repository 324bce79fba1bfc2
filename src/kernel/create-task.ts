import type { Principal } from '../define/context.ts'
import { quote } from '../define/names.ts'
import type { ToolDefinition } from '../define/tool.ts'
import { HoldfastError } from '../errors/holdfast-error.ts'
import { isObject, LATEST_MODERN, type JsonObject } from './protocol.ts'
import type { TaskStart } from './task-engine.ts'

/** Starts tasks: an engine, or what stands for it where a handler runs apart. */
export interface TaskStarter<View> {
  start(start: TaskStart): Promise<View>
}

/** A task that no client asked for. */
export interface TaskCreation {
  readonly principal: Principal
  readonly requestId: string
  readonly idempotencyKey?: string | undefined
  readonly delayMs?: number | undefined
}

/**
 * Starts a task of a tool by its name, for code of the server's own.
 * @throws {HoldfastError} `invalid_params` where there is no such tool, or the arguments do not fit.
 */
export async function createTask<View>(
  engine: TaskStarter<View> | undefined,
  tools: ReadonlyMap<string, ToolDefinition>,
  name: string,
  args: unknown,
  creation: TaskCreation,
): Promise<View> {
  const tool = tools.get(name)
  if (engine === undefined || tool?.task === undefined)
    throw new HoldfastError('invalid_params', `There is no tool ${quote(name)} that runs as a task.`)
  if (!isObject(args)) throw new HoldfastError('invalid_params', 'The arguments must be an object.')
  const { problem } = await tool.input.check(args)
  if (problem !== undefined)
    throw new HoldfastError('invalid_params', `The arguments of ${quote(name)} do not fit: ${problem}.`)
  return startTask(engine, tool, args, creation)
}

/** {@link createTask} with a tool that is known, and arguments that are checked. */
export function startTask<View>(
  engine: TaskStarter<View>,
  tool: ToolDefinition,
  args: JsonObject,
  { principal, requestId, idempotencyKey, delayMs }: TaskCreation,
): Promise<View> {
  return engine.start({
    tool,
    arguments: args,
    caller: {
      principal,
      client: { protocolVersion: LATEST_MODERN, capabilities: {} },
      revision: LATEST_MODERN,
      requestId,
      traceparent: undefined,
    },
    idempotencyKey,
    isAttended: false,
    ...(delayMs === undefined ? {} : { delayMs }),
  })
}
