import { readContents } from '../artifacts/read.ts'
import {
  ARTIFACT_URI_PREFIX,
  toResourceContents,
  type PromptMessage,
  type ResourceContents,
} from '../define/content.ts'
import type { Complete, ListedResource, ResourceDefinition, ResourceReturn } from '../define/resource.ts'
import { quote } from '../define/names.ts'
import { HoldfastError } from '../errors/holdfast-error.ts'
import { callTool } from './call-tool.ts'
import { cacheHints, readThroughCache, type ReadContents } from './cached-resource.ts'
import { inCall } from './current-call.ts'
import type { Catalog, ListKind } from './catalog.ts'
import type { Invocation, Outcome } from './invocation.ts'
import { ownerOf } from './owner.ts'
import { mayUse, requireScopes } from './scopes.ts'
import { describe, stringParam } from './params.ts'
import { SharedCall } from './shared-call.ts'
import { forRevision } from './tool-result.ts'
import { isModern, isObject, MODERN, TASKS_EXTENSION, type JsonObject } from './protocol.ts'
import { contextOf, replayable, suspendable } from './request-replay.ts'

/** Serves one method: resolves to its result, or throws what the client is told. */
export type Method = (invocation: Invocation) => Outcome | PromiseLike<Outcome>

/** What a client of 2026-07-28 may ask first. */
export const DISCOVER = 'server/discover'

/** The methods that both eras have, by name. Whether the server offers one is asked first, by {@link isOffered}. */
export const SHARED_METHODS: ReadonlyMap<string, Method> = new Map<string, Method>([
  ['tools/call', callTool],
  ['tools/list', listMethod('tools')],
  ['prompts/list', listMethod('prompts')],
  ['resources/templates/list', listMethod('resourceTemplates')],
  ['resources/list', listResources],
  ['resources/read', readResource],
  ['prompts/get', getPrompt],
  ['completion/complete', complete],
])

/** Every method that some revision serves; only these become labels. */
export const KNOWN_METHODS: ReadonlySet<string> = new Set([
  ...SHARED_METHODS.keys(),
  DISCOVER,
  'subscriptions/listen',
  'tasks/get',
  'tasks/update',
  'tasks/cancel',
  'initialize',
  'ping',
  'logging/setLevel',
  'resources/subscribe',
  'resources/unsubscribe',
])

/** The methods that run handlers of the user's: what is bounded, and queued. */
const HANDLER_METHODS: ReadonlySet<string> = new Set([
  'tools/call',
  'prompts/get',
  'resources/read',
  'resources/list',
  'completion/complete',
])

/** Whether a method runs a handler of the user's, and so needs a slot. */
export function takesSlot(method: string): boolean {
  return HANDLER_METHODS.has(method)
}

/**
 * Whether a message is taken however much there is to do: it costs nothing, frees something, or a refusal would be read as
 * something else (of `server/discover`: that the server is of 2025).
 */
export function isAlwaysTaken(method: string): boolean {
  return method === 'ping' || method === 'server/discover' || method.startsWith('notifications/')
}

/** Whether the server has the capability that a method belongs to. */
export function isOffered(method: string, { services: { catalog, tasks } }: Pick<Invocation, 'services'>): boolean {
  if (method.startsWith('tasks/')) return tasks !== undefined
  if (method.startsWith('tools/')) return catalog.tools.size > 0
  if (method.startsWith('prompts/')) return catalog.prompts.size > 0
  // Every tool may answer with links to artifacts.
  if (method.startsWith('resources/')) return catalog.server.resources.length > 0 || catalog.tools.size > 0
  if (method === 'completion/complete') return catalog.hasCompletions
  return true
}

/** Stands in for a method that does not exist, or that the server does not offer. */
export function refuseMethod({ facts }: Invocation): never {
  throw new HoldfastError('method_not_found', `This server does not offer the method ${quote(facts.method)}.`)
}

/** `server/discover` (2026-07-28). */
export function discover({ services: { catalog, tasks } }: Invocation): Outcome {
  const result = {
    supportedVersions: MODERN,
    capabilities: {
      ...catalog.capabilities(),
      ...(tasks === undefined ? {} : { extensions: { [TASKS_EXTENSION]: {} } }),
    },
    ...(catalog.server.instructions === undefined ? {} : { instructions: catalog.server.instructions }),
    ttlMs: 60_000,
    cacheScope: 'public',
  }
  return { members: JSON.stringify(result).slice(1, -1) }
}

function cursorParam(params: JsonObject): string | undefined {
  return params.cursor === undefined ? undefined : stringParam(params, 'cursor')
}

function listMethod(kind: ListKind): Method {
  return ({ services, facts, principal }) => ({
    members: services.catalog.page(kind, facts.revision, cursorParam(facts.params), principal),
  })
}

function listResources(invocation: Invocation): Outcome | PromiseLike<Outcome> {
  const { services, facts, principal } = invocation
  const listers = services.catalog.templates.filter(
    (template) => template.list !== undefined && mayUse(principal, template),
  )
  const cursor = cursorParam(facts.params)
  if (listers.length === 0) return { members: services.catalog.page('resources', facts.revision, cursor, principal) }
  const ctx = contextOf(invocation)
  return (async () => {
    const list = async (template: ResourceDefinition): Promise<readonly ListedResource[]> =>
      inCall(invocation, () => template.list!(ctx))
    const added = (await Promise.all(listers.map(list))).flat()
    return { members: services.catalog.resourcePage(facts.revision, cursor, principal, added) }
  })()
}

function readResource(invocation: Invocation): Outcome | PromiseLike<Outcome> {
  return replayable(invocation, () => suspendable(invocation, readNow(invocation)))
}

async function readNow(invocation: Invocation): Promise<Outcome> {
  const { facts } = invocation
  const uri = stringParam(facts.params, 'uri')
  if (uri.startsWith(ARTIFACT_URI_PREFIX)) return readArtifact(invocation, uri)
  const found = findResource(invocation.services.catalog, uri)
  if (found !== undefined) requireScopes(invocation, found.resource, `The resource ${quote(uri)}`)
  const missing = (): HoldfastError =>
    new HoldfastError('resource_not_found', `There is no resource ${quote(uri)}.`, { data: { uri } })
  if (found === undefined) throw missing()
  const { resource, target } = found
  const read = async (signal?: AbortSignal): Promise<ReadContents> => {
    const call = signal === undefined ? invocation : new SharedCall(invocation, signal)
    const value = await inCall(call, () => resource.read(target as never, contextOf(invocation, call)))
    if (value === undefined || value === null) throw missing()
    return {
      json: JSON.stringify(toContents(uri, value, resource)),
      isPersonal: invocation.replay?.hasAsked === true,
    }
  }
  const contents =
    resource.cache === undefined
      ? { value: await read(), from: 'computed' as const, freshForMs: 0 }
      : await readThroughCache(invocation, resource, uri, read)
  const hints = isModern(facts.revision) ? cacheHints(resource, contents) : ''
  return { members: `"contents":${contents.value.json}${hints}` }
}

/** Of an artifact nothing ever changes but that it goes. */
const ARTIFACT_TTL_MS = 60_000

async function readArtifact({ services, facts, principal }: Invocation, uri: string): Promise<Outcome> {
  const { artifacts, options, telemetry } = services
  const contents = artifacts && (await readContents(artifacts, ownerOf(principal), uri, options.maxArtifactReadBytes))
  if (contents === undefined)
    throw new HoldfastError('resource_not_found', `There is no artifact ${quote(uri)}.`, { data: { uri } })
  telemetry.count('artifacts', 'read')
  const hints = isModern(facts.revision) ? `,"ttlMs":${ARTIFACT_TTL_MS},"cacheScope":"private"` : ''
  return { members: `"contents":[${JSON.stringify(contents)}]${hints}` }
}

/** The resource of a URI, or the template that it fits. */
export function findResource(
  catalog: Catalog,
  uri: string,
): { resource: ResourceDefinition; target: unknown } | undefined {
  const resource = catalog.resources.get(uri)
  if (resource !== undefined) return { resource, target: uri }
  for (const template of catalog.templates) {
    const variables = template.template!.match(uri)
    if (variables !== undefined) return { resource: template, target: variables }
  }
  return undefined
}

function toContents(
  uri: string,
  value: Exclude<ResourceReturn, undefined>,
  { name, mimeType }: ResourceDefinition,
): readonly ResourceContents[] {
  if (typeof value === 'string' || value instanceof Uint8Array) return [toResourceContents(uri, value, mimeType)]
  const contents: unknown[] = Array.isArray(value) ? value : [value]
  for (const one of contents)
    if (!isObject(one) || typeof one.uri !== 'string' || (typeof one.text !== 'string' && typeof one.blob !== 'string'))
      throw new TypeError(`The resource "${name}" was read as something other than text, bytes, or contents.`)
  return contents as ResourceContents[]
}

function getPrompt(invocation: Invocation): Outcome | PromiseLike<Outcome> {
  return replayable(invocation, () => suspendable(invocation, getNow(invocation)))
}

async function getNow(invocation: Invocation): Promise<Outcome> {
  const { services, facts } = invocation
  const name = stringParam(facts.params, 'name')
  const prompt = services.catalog.prompts.get(name)
  if (prompt === undefined)
    throw new HoldfastError('invalid_params', `There is no prompt ${quote(name)}. List them with prompts/list.`)
  requireScopes(invocation, prompt, `The prompt ${quote(name)}`)
  const given = facts.params.arguments ?? {}
  if (!isObject(given))
    throw new HoldfastError('invalid_params', `\`params.arguments\` must be an object; it is ${describe(given)}.`)
  for (const [key, value] of Object.entries(given))
    if (typeof value !== 'string')
      throw new HoldfastError(
        'invalid_params',
        `\`params.arguments\` member ${quote(key)} must be a string; it is ${describe(value)}.`,
      )
  const checked = prompt.arguments === undefined ? { value: given } : await prompt.arguments.check(given)
  if (checked.problem !== undefined)
    throw new HoldfastError('invalid_params', `The arguments of the prompt "${name}" do not fit: ${checked.problem}.`)
  const value = await inCall(invocation, () => prompt.get(checked.value as never, contextOf(invocation)))
  const result: { description?: string; messages: readonly PromptMessage[] } =
    typeof value === 'string'
      ? { messages: [{ role: 'user', content: { type: 'text', text: value } }] }
      : 'messages' in value
        ? value
        : { messages: value }
  if (
    !Array.isArray(result.messages) ||
    !result.messages.every((message: unknown) => isObject(message) && isObject(message.content))
  )
    throw new TypeError(`The prompt "${name}" returned something other than text or messages.`)
  const description = result.description ?? prompt.description
  const messages = isModern(facts.revision)
    ? result.messages
    : result.messages.map((message) => ({ ...message, content: forRevision(message.content, facts.revision) }))
  return {
    members: JSON.stringify({ ...(description === undefined ? {} : { description }), messages }).slice(1, -1),
  }
}

/** At most so many values reach the client (MCP 2026-07-28, completion, `values`). */
const MAX_COMPLETIONS = 100

async function complete(invocation: Invocation): Promise<Outcome> {
  const { params } = invocation.facts
  const { ref, argument, context } = params
  if (!isObject(argument) || typeof argument.name !== 'string' || typeof argument.value !== 'string')
    throw new HoldfastError('invalid_params', '`params.argument` must be { name: string, value: string }.')
  const chosen = isObject(context) && isObject(context.arguments) ? context.arguments : {}
  for (const [key, value] of Object.entries(chosen))
    if (typeof value !== 'string')
      throw new HoldfastError(
        'invalid_params',
        `\`params.context.arguments\` member ${quote(key)} must be a string; it is ${describe(value)}.`,
      )
  const begun = argument.value
  const completer = findCompleter(invocation, ref, argument.name)
  const values =
    completer === undefined
      ? []
      : await inCall(invocation, () =>
          completer(begun, { arguments: chosen as Record<string, string> }, contextOf(invocation)),
        )
  if (!Array.isArray(values) || !values.every((value) => typeof value === 'string'))
    throw new TypeError('A completion returned something other than strings.')
  const hasMore = values.length > MAX_COMPLETIONS
  return {
    members: `"completion":${JSON.stringify({ values: values.slice(0, MAX_COMPLETIONS), total: values.length, hasMore })}`,
  }
}

function findCompleter(invocation: Invocation, ref: unknown, argument: string): Complete | undefined {
  const { catalog } = invocation.services
  const refuse = (what: string): never => {
    throw new HoldfastError('invalid_params', what)
  }
  if (!isObject(ref)) return refuse(`\`params.ref\` must be an object; it is ${describe(ref)}.`)
  let completers: Readonly<Record<string, Complete | undefined>> | undefined
  let names: readonly string[]
  if (ref.type === 'ref/prompt') {
    const prompt = catalog.prompts.get(stringParam(ref, 'name')) ?? refuse(`There is no prompt ${quote(ref.name)}.`)
    requireScopes(invocation, prompt, `The prompt ${quote(ref.name)}`)
    completers = prompt.complete
    names = prompt.listedArguments.map(({ name }) => name)
  } else if (ref.type === 'ref/resource') {
    const uri = stringParam(ref, 'uri')
    const template = catalog.templates.find(({ uriTemplate }) => uriTemplate === uri)
    // A fixed resource has nothing to complete, but may be asked for.
    if (template === undefined && !catalog.resources.has(uri)) refuse(`There is no resource template ${quote(uri)}.`)
    if (template !== undefined) requireScopes(invocation, template, `The resource template ${quote(uri)}`)
    completers = template?.complete
    names = template?.template!.names ?? []
  } else return refuse(`\`params.ref.type\` must be "ref/prompt" or "ref/resource"; it is ${quote(ref.type)}.`)
  if (!names.includes(argument))
    refuse(`There is no argument ${quote(argument)}; there is ${names.join(', ') || 'none'}.`)
  return completers !== undefined && Object.hasOwn(completers, argument) ? completers[argument] : undefined
}
