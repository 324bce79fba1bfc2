import type { Icon, PromptMessage } from './content.ts'
import type { Context } from './context.ts'
import { checkFields, checkFunction, checkName } from './names.ts'
import type { Complete } from './resource.ts'
import type { InferInput, Schema } from './schema.ts'

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
  icons?: Icon[]
  _meta?: Record<string, unknown>
  get(args: InferInput<Arguments>, ctx: Context): PromptReturn | Promise<PromptReturn>
}

/** A prompt, ready to be given to {@link defineServer}. */
export interface PromptDefinition {
  readonly kind: 'prompt'
  readonly name: string
  readonly title?: string
  readonly description?: string
  readonly arguments?: Schema
  readonly complete?: Readonly<Record<string, Complete | undefined>>
  readonly icons?: Icon[]
  readonly _meta?: Record<string, unknown>
  readonly get: (args: never, ctx: Context) => PromptReturn | Promise<PromptReturn>
}

const FIELDS = ['name', 'title', 'description', 'arguments', 'complete', 'icons', '_meta', 'get']

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
  checkName('definePrompt', options.name)
  const where = `definePrompt("${options.name}")`
  checkFields(where, options, FIELDS)
  checkFunction(where, 'get', options.get)
  return Object.freeze({ ...(options as unknown as Omit<PromptDefinition, 'kind'>), kind: 'prompt' as const })
}
