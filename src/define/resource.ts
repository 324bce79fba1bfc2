import { checkCache, type ResourceCacheOptions } from './cache.ts'
import type { Annotations, Icon, ResourceContents } from './content.ts'
import type { Context } from './context.ts'
import { checkListedFields } from './listed-fields.ts'
import { checkFields, checkFunction, checkName, checkOptions, invalid, quote } from './names.ts'
import { checkScopes } from './scopes.ts'
import { parseUriTemplate, type UriTemplate } from './uri-template.ts'

/** What `read` may return: text, bytes, or contents of one or several resources. `undefined`: there is no such resource. */
export type ResourceReturn = string | Uint8Array | ResourceContents | readonly ResourceContents[] | undefined

interface ResourceCommon {
  name: string
  title?: string
  description?: string
  mimeType?: string
  annotations?: Annotations
  icons?: Icon[]
  _meta?: Record<string, unknown>
  /**
   * Gives what was read before, instead of reading again. Clients are told to keep it as long as it is fresh (`ttlMs` on the wire),
   * and whether it is everybody's (`cacheScope`). {@link Notify.resourceUpdated} invalidates it. Default: each request reads.
   */
  cache?: ResourceCacheOptions
  /** How long clients may keep what they read (`ttlMs` on the wire, 2026-07-28); with `cache`, at most. Default 0. */
  ttlMs?: number
  /** Whether what is read is the same for every caller (`public`), so that shared caches may keep it. Default `private`. */
  cacheScope?: 'public' | 'private'
  /**
   * Scopes that a caller needs, all of them: who lacks one does not see it in lists, and is told which by a 403
   * (`insufficient_scope`). Default: none.
   */
  scopes?: readonly string[]
}

/** A resource with a fixed URI. */
export interface StaticResourceOptions extends ResourceCommon {
  uri: string
  /** Bytes, where known. */
  size?: number
  read(uri: string, ctx: Context): ResourceReturn | Promise<ResourceReturn>
}

/** Names of the variables of a URI template. */
export type TemplateVariables<Template extends string> = string extends Template
  ? Record<string, string>
  : { [Name in VariableNames<Template>]: string }
type VariableNames<T extends string> = T extends `${string}{${infer Name}}${infer Rest}`
  ? (Name extends `+${infer Plain}` ? Plain : Name) | VariableNames<Rest>
  : never

/** Proposes values for an argument or variable; `context.arguments` holds those already chosen. At most 100 reach the client. */
export type Complete = (
  value: string,
  context: { readonly arguments: Readonly<Record<string, string>> },
  ctx: Context,
) => readonly string[] | Promise<readonly string[]>

/** An entry of `resources/list` that a template adds at run time. */
export interface ListedResource {
  uri: string
  name: string
  title?: string
  description?: string
  mimeType?: string
  /** Bytes. */
  size?: number
  annotations?: Annotations
}

/** A family of resources that share a URI template. */
export interface TemplateResourceOptions<Template extends string> extends ResourceCommon {
  /**
   * `{name}` matches one path segment, `{+name}` also slashes (RFC 6570, levels 1 and 2, these two forms alone). Values
   * are decoded, so either may hold `/` (`a%2Fb`) and `..`: check them before they become part of a path.
   */
  uriTemplate: Template
  /** Completions for the template's variables (`completion/complete`). */
  complete?: { [Name in keyof TemplateVariables<Template>]?: Complete }
  /** The members that `resources/list` should show. Called for each list request; keep it quick. Default: none. */
  list?(ctx: Context): readonly ListedResource[] | Promise<readonly ListedResource[]>
  read(variables: TemplateVariables<Template>, ctx: Context): ResourceReturn | Promise<ResourceReturn>
}

/** A resource or family of resources, ready to be given to {@link defineServer}. */
export interface ResourceDefinition extends Readonly<ResourceCommon> {
  readonly kind: 'resource'
  readonly uri?: string
  readonly uriTemplate?: string
  /** The parsed `uriTemplate`. */
  readonly template?: UriTemplate
  readonly size?: number
  readonly complete?: Readonly<Record<string, Complete | undefined>>
  readonly list?: (ctx: Context) => readonly ListedResource[] | Promise<readonly ListedResource[]>
  readonly read: (target: never, ctx: Context) => ResourceReturn | Promise<ResourceReturn>
}

const COMMON = [
  'name',
  'title',
  'description',
  'mimeType',
  'annotations',
  'icons',
  '_meta',
  'ttlMs',
  'cacheScope',
  'cache',
  'scopes',
  'read',
]

/**
 * Declares a resource (`uri`) or a family of resources (`uriTemplate`).
 *
 * @example
 * defineResource({ uri: 'config://app', name: 'config', mimeType: 'application/json', read: () => JSON.stringify(config) })
 * defineResource({ uriTemplate: 'doc://{id}', name: 'document', read: ({ id }) => load(id) })
 * @throws {HoldfastError} `invalid_definition` for a bad name, URI, template or field.
 */
export function defineResource(options: StaticResourceOptions): ResourceDefinition
export function defineResource<const Template extends string>(
  options: TemplateResourceOptions<Template>,
): ResourceDefinition
export function defineResource(options: StaticResourceOptions | TemplateResourceOptions<string>): ResourceDefinition {
  checkOptions('defineResource', options)
  checkName('defineResource', options.name)
  const where = `defineResource("${options.name}")`
  const isTemplate = 'uriTemplate' in options
  if (isTemplate === 'uri' in options)
    invalid(where, 'it has both or neither of `uri` and `uriTemplate`.', 'Give it one of them.')
  checkFields(where, options, isTemplate ? [...COMMON, 'uriTemplate', 'complete', 'list'] : [...COMMON, 'uri', 'size'])
  checkFunction(where, 'read', options.read)
  if (isTemplate && options.list !== undefined) checkFunction(where, 'list', options.list)
  checkListedFields(where, options)
  checkScopes(where, options.scopes)
  const uri = isTemplate ? options.uriTemplate : options.uri
  if (typeof uri !== 'string' || !/^[A-Za-z][A-Za-z0-9+.-]*:/.test(uri))
    invalid(where, `${quote(uri)} has no scheme.`, 'Use an absolute URI such as doc://guide.')
  if (options.ttlMs !== undefined && (!Number.isInteger(options.ttlMs) || options.ttlMs < 0))
    invalid(where, `\`ttlMs\` is ${quote(options.ttlMs)}.`, 'Use a whole number of milliseconds, 0 or more.')
  if (options.cacheScope !== undefined && options.cacheScope !== 'public' && options.cacheScope !== 'private')
    invalid(where, `\`cacheScope\` is ${quote(options.cacheScope)}.`, 'Use "public" or "private".')
  checkCache(where, options.cache, [])
  if (options.cache !== undefined && options.cacheScope !== undefined)
    invalid(where, 'it has both `cache` and `cacheScope`.', 'Say it by `cache.scope`.')
  if (options.cacheScope === 'public' && options.scopes !== undefined)
    invalid(
      where,
      'it has `scopes`, but `cacheScope` is "public".',
      'What some may not read, no shared cache may keep.',
    )
  const template = isTemplate ? parseUriTemplate(uri, where) : undefined
  if (isTemplate) checkComplete(where, options.complete, template!.names)
  return Object.freeze({
    ...(options as unknown as Omit<ResourceDefinition, 'kind' | 'template'>),
    kind: 'resource' as const,
    ...(template === undefined ? {} : { template }),
  })
}

/** Refuses a completion for an argument that does not exist. */
export function checkComplete(where: string, complete: object | undefined, names: readonly string[]): void {
  for (const [name, value] of Object.entries(complete ?? {})) {
    if (!names.includes(name))
      invalid(where, `\`complete\` names ${quote(name)}.`, `It may name ${names.join(', ') || 'nothing'}.`)
    checkFunction(where, `complete.${name}`, value)
  }
}
