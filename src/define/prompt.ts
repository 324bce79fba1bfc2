import { compileSchema, type CompiledSchema } from './compile-schema.ts'
import type { Icon, PromptMessage } from './content.ts'
import type { Context } from './context.ts'
import { checkListedFields } from './listed-fields.ts'
import { checkFields, checkFunction, checkName, checkOptions, invalid } from './names.ts'
import { checkComplete, type Complete } from './resource.ts'
import { checkScopes } from './scopes.ts'
import type { InferInput, JsonSchema, Schema } from './schema.ts'

/** What `get` may return: text (one user message), messages, or messages with a description of their own. */
export type PromptReturn =
  string | readonly PromptMessage[] | { description?: string; messages: readonly PromptMessage[] }

/** What a person writes for a prompt. */
export interface PromptOptions<Arguments extends Schema | undefined> {
  /** Unique in the server. */
  name: string
  title?: string
  description?: string
  /** Schema of the arguments: an object whose properties are strings on the wire. Default: no arguments. */
  arguments?: Arguments
  /** Completions for the arguments (`completion/complete`). */
  complete?: { [Name in keyof InferInput<Arguments>]?: Complete }
  /**
   * Scopes that a caller needs, all of them: who lacks one does not see it in lists, and is told which by a 403
   * (`insufficient_scope`). Default: none.
   */
  scopes?: readonly string[]
  icons?: Icon[]
  _meta?: Record<string, unknown>
  get(args: InferInput<Arguments>, ctx: Context): PromptReturn | Promise<PromptReturn>
}

/** An argument of a prompt as clients see it. */
export interface PromptArgument {
  readonly name: string
  readonly title?: string
  readonly description?: string
  readonly required: boolean
}

/** A prompt, ready to be given to {@link defineServer}. */
export interface PromptDefinition {
  readonly kind: 'prompt'
  readonly name: string
  readonly title?: string
  readonly description?: string
  readonly arguments?: CompiledSchema
  /** The arguments as `prompts/list` shows them. */
  readonly listedArguments: readonly PromptArgument[]
  readonly complete?: Readonly<Record<string, Complete | undefined>>
  /** What a caller needs to see and to get it. */
  readonly scopes?: readonly string[]
  readonly icons?: Icon[]
  readonly _meta?: Record<string, unknown>
  readonly get: (args: never, ctx: Context) => PromptReturn | Promise<PromptReturn>
}

const FIELDS = ['name', 'title', 'description', 'arguments', 'complete', 'scopes', 'icons', '_meta', 'get']

/**
 * Declares a prompt: a message template that a person picks in their client.
 *
 * @example
 * definePrompt({
 *   name: 'review',
 *   description: 'Reviews a change',
 *   arguments: z.object({ diff: z.string() }),
 *   get: ({ diff }) => `Review this change:\n${diff}`,
 * })
 * @throws {HoldfastError} `invalid_definition` for a bad name or field.
 */
export function definePrompt<Arguments extends Schema | undefined = undefined>(
  options: PromptOptions<Arguments>,
): PromptDefinition {
  checkOptions('definePrompt', options)
  checkName('definePrompt', options.name)
  const where = `definePrompt("${options.name}")`
  checkFields(where, options, FIELDS)
  checkFunction(where, 'get', options.get)
  checkListedFields(where, options)
  checkScopes(where, options.scopes)
  const { arguments: schema, ...rest } = options
  const compiled = schema === undefined ? undefined : compileSchema(schema, 'input', where)
  const listedArguments = compiled === undefined ? [] : toArguments(compiled.json, where)
  checkComplete(
    where,
    options.complete,
    listedArguments.map(({ name }) => name),
  )
  return Object.freeze({
    ...(rest as unknown as Omit<PromptDefinition, 'kind' | 'arguments' | 'listedArguments'>),
    kind: 'prompt' as const,
    ...(compiled === undefined ? {} : { arguments: compiled }),
    listedArguments,
  })
}

function toArguments(schema: JsonSchema, where: string): PromptArgument[] {
  if (schema.type !== 'object')
    invalid(where, 'the arguments are not an object.', 'Prompt arguments are named: describe an object of strings.')
  const required = Array.isArray(schema.required) ? (schema.required as unknown[]) : []
  return Object.entries((schema.properties ?? {}) as Record<string, JsonSchema>).map(([name, property]) => ({
    name,
    ...(typeof property.title === 'string' ? { title: property.title } : {}),
    ...(typeof property.description === 'string' ? { description: property.description } : {}),
    required: required.includes(name),
  }))
}
