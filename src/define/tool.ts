import { NEEDS, type Need } from './ask.ts'
import { checkCache, type ToolCacheOptions } from './cache.ts'
import { compileSchema, type CompiledSchema } from './compile-schema.ts'
import type { ContentBlock, Icon, ToolResult } from './content.ts'
import type { Context } from './context.ts'
import { findHeaderParameters, type HeaderParameter } from './header-parameters.ts'
import { checkLimits, type ToolLimit } from './limits.ts'
import { checkListedFields, checkToolAnnotations } from './listed-fields.ts'
import { checkFields, checkFunction, checkOptions, checkText, checkToolName, invalid, quote } from './names.ts'
import { checkScopes } from './scopes.ts'
import { resolveTaskOptions, type ResolvedTaskOptions, type TaskOptions } from './task.ts'
import type { InferInput, InferReturn, Schema } from './schema.ts'

/** Hints on how a tool behaves. Clients must not trust them (MCP 2026-07-28, `ToolAnnotations`). */
export interface ToolAnnotations {
  title?: string
  readOnlyHint?: boolean
  destructiveHint?: boolean
  idempotentHint?: boolean
  openWorldHint?: boolean
}

/** What a handler may return where the tool has no output schema. Other values than these are sent as JSON text. */
export type ToolReturn =
  string | number | boolean | null | undefined | void | ContentBlock | ToolResult | readonly ContentBlock[] | object

/** What a person writes for a tool. */
export interface ToolOptions<Input extends Schema | undefined, Output extends Schema | undefined> {
  /** 1–64 of `A–Z a–z 0–9 _ . / -`, unique in the server. */
  name: string
  /** Name for people; clients show `name` without it. */
  title?: string
  /** What the tool does, for the model that chooses. */
  description: string
  /** Schema of the arguments; must describe an object. Default: no arguments. */
  input?: Input
  /** Schema of what `run` returns. Sent to clients, and every result is checked against it. */
  output?: Output
  /** What the tool cannot do without on the client's side; a client that lacks it is told so before anything runs. */
  needs?: readonly Need[]
  /**
   * Scopes that a caller needs, all of them: who lacks one does not see it in lists, and is told which by a 403
   * (`insufficient_scope`). Default: none.
   */
  scopes?: readonly string[]
  annotations?: ToolAnnotations
  icons?: Icon[]
  /**
   * Calls that run at once on a node, at most; more wait in a short queue, in turn by caller, or are refused with `overloaded`.
   * For what the tool works with: as many connections as its database grants, or 1 for what must not overlap on a machine.
   * Default: as many as the node runs (`maxConcurrentRequests`).
   */
  concurrency?: number
  /** Runs the tool's calls as durable tasks, on workers. Default: they run within the request, on the node that has it. */
  task?: TaskOptions | true
  /**
   * Gives the results of earlier calls, instead of running again: for tools that only read. Limits count such a call like any
   * other. Not together with `task` or `needs`. Default: every call runs.
   */
  cache?: ToolCacheOptions<InferInput<Input>>
  /**
   * Content of a result beyond so many bytes is put into the artifact store, the biggest blocks first, and linked to; a text keeps
   * its beginning. `false`: never. Never touched is `structuredContent`, and what goes to clients of 2025-03-26, which knows no
   * links. Default 262,144.
   */
  offloadBytes?: number | false
  /** Sent with the tool in lists, unchanged. */
  _meta?: Record<string, unknown>
  /** How often the tool may be called. A call must pass all of them, and those of the server. */
  limits?: readonly ToolLimit<InferInput<Input>>[]
  /**
   * Does the work. Returns what is natural: a string, an object that fits `output`, blocks of {@link content}; throws
   * {@link toolError} for an error that the model should read.
   */
  run(
    args: InferInput<Input>,
    ctx: Context,
  ):
    | (Output extends Schema ? InferReturn<Output> | ToolResult : ToolReturn)
    | Promise<Output extends Schema ? InferReturn<Output> | ToolResult : ToolReturn>
}

/** A tool, ready to be given to {@link defineServer}. Pure data: making one runs nothing of the user's. */
export interface ToolDefinition {
  readonly kind: 'tool'
  readonly name: string
  readonly title?: string
  readonly description: string
  readonly input: CompiledSchema
  readonly output?: CompiledSchema
  readonly needs?: readonly Need[]
  /** Arguments that clients mirror in `Mcp-Param-*` headers. */
  readonly headerParameters: readonly HeaderParameter[]
  /** What a caller needs to see and to call it. */
  readonly scopes?: readonly string[]
  readonly annotations?: ToolAnnotations
  readonly icons?: Icon[]
  readonly concurrency?: number
  readonly task?: ResolvedTaskOptions
  readonly cache?: ToolCacheOptions<never>
  readonly offloadBytes?: number | false
  readonly _meta?: Record<string, unknown>
  readonly limits?: readonly ToolLimit[]
  readonly run: (args: never, ctx: Context) => unknown
}

const FIELDS = [
  'name',
  'title',
  'description',
  'input',
  'output',
  'needs',
  'scopes',
  'annotations',
  'icons',
  'concurrency',
  'limits',
  'task',
  'cache',
  'offloadBytes',
  '_meta',
  'run',
]
const NO_ARGUMENTS: CompiledSchema = {
  json: { type: 'object', additionalProperties: false },
  check: (value) => {
    const extra = Object.keys(value as object)[0]
    return extra === undefined ? { value } : { problem: `the tool takes no arguments, and got ${quote(extra)}` }
  },
}

/**
 * Declares a tool.
 *
 * @example
 * const add = defineTool({
 *   name: 'add',
 *   description: 'Adds two numbers',
 *   input: z.object({ a: z.number(), b: z.number() }),
 *   output: z.object({ sum: z.number() }),
 *   run: ({ a, b }) => ({ sum: a + b }),
 * })
 * @throws {HoldfastError} `invalid_definition` for a bad name, a missing description, an unknown field, or a schema that
 * can't be expressed as JSON Schema 2020-12.
 */
export function defineTool<Input extends Schema | undefined = undefined, Output extends Schema | undefined = undefined>(
  options: ToolOptions<Input, Output>,
): ToolDefinition {
  checkOptions('defineTool', options)
  checkToolName(options.name)
  const where = `defineTool("${options.name}")`
  checkFields(where, options, FIELDS)
  checkText(where, 'description', options.description)
  checkFunction(where, 'run', options.run)
  checkListedFields(where, options)
  checkToolAnnotations(where, options.annotations)
  checkScopes(where, options.scopes)
  checkLimits(where, options.limits, true)
  checkNeeds(where, options.needs)
  const { concurrency } = options
  if (concurrency !== undefined && !(Number.isSafeInteger(concurrency) && concurrency >= 1))
    invalid(where, `\`concurrency\` is ${quote(concurrency)}.`, 'It must be a whole number, 1 or more.')
  const { offloadBytes } = options
  if (
    offloadBytes !== undefined &&
    offloadBytes !== false &&
    !(Number.isSafeInteger(offloadBytes) && offloadBytes >= 0)
  )
    invalid(where, `\`offloadBytes\` is ${quote(offloadBytes)}.`, 'It must be a whole number, 0 or more, or false.')
  checkCache(where, options.cache, ['key'])
  if (options.cache !== undefined && (options.task !== undefined || options.needs !== undefined))
    invalid(
      where,
      `it has both \`cache\` and \`${options.task === undefined ? 'needs' : 'task'}\`.`,
      'Cache its expensive parts by ctx.cache instead: the whole belongs to one caller.',
    )
  const { input, output, task, ...rest } = options
  const compiled = input === undefined ? NO_ARGUMENTS : asObject(compileSchema(input, 'input', where), where)
  return Object.freeze({
    ...(rest as Omit<ToolDefinition, 'kind' | 'input' | 'output' | 'task' | 'headerParameters'>),
    kind: 'tool' as const,
    input: compiled,
    ...(output === undefined ? {} : { output: compileSchema(output, 'output', where) }),
    ...(task === undefined ? {} : { task: resolveTaskOptions(task, where, concurrency) }),
    headerParameters: findHeaderParameters(compiled.json, where),
  })
}

function checkNeeds(where: string, needs: unknown): void {
  if (needs === undefined) return
  const wrong = Array.isArray(needs) ? needs.find((need) => !NEEDS.includes(need as Need)) : needs
  if (wrong !== undefined)
    invalid(where, `\`needs\` holds ${quote(wrong)}.`, `Give a list of ${NEEDS.map((need) => `"${need}"`).join(', ')}.`)
}

/** Arguments are an object: `type: "object"` must stand at the root (MCP 2026-07-28, `Tool.inputSchema`). */
function asObject(schema: CompiledSchema, where: string): CompiledSchema {
  const { type } = schema.json
  if (type === 'object') return schema
  if (type !== undefined)
    invalid(where, `the input schema describes ${JSON.stringify(type)}.`, 'Arguments are an object: wrap it in one.')
  return { ...schema, json: { type: 'object', ...schema.json } }
}
