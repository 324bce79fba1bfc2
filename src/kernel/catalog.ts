import { LRUCache } from 'lru-cache'
import type { Principal } from '../define/context.ts'
import type { PromptDefinition } from '../define/prompt.ts'
import type { ListedResource, ResourceDefinition } from '../define/resource.ts'
import type { ServerDefinition } from '../define/server.ts'
import type { ToolDefinition } from '../define/tool.ts'
import { HoldfastError } from '../errors/holdfast-error.ts'
import { LIST_NAMES, type ListName } from './changes.ts'
import { mayUse } from './scopes.ts'
import { isModern, LATEST_MODERN, META, type JsonObject, type Revision } from './protocol.ts'

/** What a server offers, made ready once: look-ups, and the pages of its lists as bytes. Nothing is built per request. */
export interface Catalog {
  readonly server: ServerDefinition
  readonly tools: ReadonlyMap<string, ToolDefinition>
  readonly prompts: ReadonlyMap<string, PromptDefinition>
  readonly resources: ReadonlyMap<string, ResourceDefinition>
  readonly templates: readonly ResourceDefinition[]
  readonly hasCompletions: boolean
  /** Scopes that something here needs, in the order in which they are named. */
  readonly scopes: readonly string[]
  /** Members of a list result (`"tools":[…],"nextCursor":…`), of what the caller may use. */
  page(kind: ListKind, revision: Revision, cursor: string | undefined, principal: Principal): Buffer
  /** Members of `resources/list` where templates add entries at run time. */
  resourcePage(
    revision: Revision,
    cursor: string | undefined,
    principal: Principal,
    added: readonly ListedResource[],
  ): string
  /** `_meta` of every 2026 result: who answered (MCP 2026-07-28, basic, SHOULD). */
  readonly resultMetaObject: JsonObject
  /** The same as JSON. */
  readonly resultMeta: string
  /** `serverInfo` as a revision knows it. */
  serverInfo(revision: Revision): JsonObject
  capabilities(): JsonObject
  /** The lists that the server has, whose changes it tells of. */
  readonly listsOffered: ReadonlySet<ListName>
}

export type ListKind = 'tools' | 'prompts' | 'resources' | 'resourceTemplates'

/** How long a 2026 client may keep a list without asking again; it hears of changes by `subscriptions/listen`. */
const LIST_TTL_MS = 60_000

/** Bytes of ready pages. Sets of scopes are as many as callers make them, so the pages that were not asked for longest go. */
const MAX_PAGE_BYTES = 64 * 1024 * 1024

export function compileCatalog(server: ServerDefinition, pageSize: number): Catalog {
  const tools = new Map(server.tools.map((tool) => [tool.name, tool]))
  const prompts = new Map(server.prompts.map((prompt) => [prompt.name, prompt]))
  const fixed = server.resources.filter((resource) => resource.uri !== undefined)
  const templates = server.resources.filter((resource) => resource.template !== undefined)
  const lists: Record<ListKind, List> = {
    tools: listOf(server.tools, listedTool),
    prompts: listOf(server.prompts, listedPrompt),
    resources: listOf(fixed, (resource, revision) => listedResource({ ...resource, uri: resource.uri! }, revision)),
    resourceTemplates: listOf(templates, (template, revision) =>
      listedResource({ uriTemplate: template.uriTemplate, ...template }, revision),
    ),
  }
  const items = [...server.tools, ...server.prompts, ...server.resources]
  const scopes = [...new Set(items.flatMap((item) => item.scopes ?? []))]
  const granted = new GrantedScopes(scopes)
  const hasCompletions = [...server.prompts, ...templates].some((item) => item.complete !== undefined)
  const resultMetaObject = { [META.serverInfo]: serverInfo(server, LATEST_MODERN) }
  const cache = new LRUCache<string, Buffer>({ maxSize: MAX_PAGE_BYTES, sizeCalculation: ({ length }) => length + 1 })
  const renderPage = (
    kind: ListKind,
    revision: Revision,
    offset: number,
    all: readonly object[],
    hints: { ttlMs: number; cacheScope: 'public' | 'private' },
  ): string => {
    const end = offset + pageSize
    const members: JsonObject = { [kind]: all.slice(offset, end) }
    if (end < all.length) members.nextCursor = toCursor(kind, end)
    if (isModern(revision)) Object.assign(members, hints)
    return JSON.stringify(members).slice(1, -1)
  }
  return {
    server,
    tools,
    prompts,
    resources: new Map(fixed.map((resource) => [resource.uri!, resource])),
    templates,
    hasCompletions,
    resultMetaObject,
    resultMeta: JSON.stringify(resultMetaObject),
    scopes,
    page(kind, revision, cursor, principal) {
      const list = lists[kind]
      const start = list.isFiltered ? `${kind} ${revision} ${granted.keyOf(principal)}` : `${kind} ${revision}`
      const key = cursor === undefined ? start : `${start} ${cursor}`
      let bytes = cache.get(key)
      if (bytes === undefined) {
        const all = list.entries(revision, principal)
        const offset = fromCursor(kind, cursor, pageSize, all.length)
        // MCP 2026-07-28, caching: `public` only where everybody sees the same.
        const hints = { ttlMs: LIST_TTL_MS, cacheScope: list.isFiltered ? 'private' : 'public' } as const
        // Only cursors that exist reach this line, so the cache can't be filled by a client.
        bytes = Buffer.from(renderPage(kind, revision, offset, all, hints))
        cache.set(key, bytes)
      }
      return bytes
    },
    resourcePage(revision, cursor, principal, added) {
      const all = [
        ...lists.resources.entries(revision, principal),
        ...added.map((resource) => listedResource(resource, revision)),
      ]
      // What templates add is the caller's own view, and may change at any time.
      const hints = { ttlMs: 0, cacheScope: 'private' } as const
      return renderPage('resources', revision, fromCursor('resources', cursor, 1, all.length), all, hints)
    },
    listsOffered: new Set(LIST_NAMES.filter((list) => server[list].length > 0)),
    serverInfo: (revision) => serverInfo(server, revision),
    capabilities: () => ({
      logging: {},
      ...(tools.size > 0 ? { tools: { listChanged: true } } : {}),
      ...(prompts.size > 0 ? { prompts: { listChanged: true } } : {}),
      ...(server.resources.length > 0
        ? { resources: { subscribe: true, listChanged: true } }
        : tools.size > 0
          ? { resources: {} } // artifacts can be read
          : {}),
      ...(hasCompletions ? { completions: {} } : {}),
    }),
  }
}

/** A list before it is cut into pages. */
interface List {
  /** Some callers see less of it than others. */
  readonly isFiltered: boolean
  entries(revision: Revision, principal: Principal): object[]
}

function listOf<Item extends { readonly scopes?: readonly string[] }>(
  items: readonly Item[],
  render: (item: Item, revision: Revision) => object,
): List {
  return {
    isFiltered: items.some(({ scopes }) => scopes !== undefined),
    entries: (revision, principal) =>
      items.filter((item) => mayUse(principal, item)).map((item) => render(item, revision)),
  }
}

/** Tells callers apart by what they may see: by those of their scopes that matter here. */
class GrantedScopes {
  readonly #known: readonly string[]
  readonly #keys = new WeakMap<Principal, string>()
  constructor(known: readonly string[]) {
    this.#known = known
  }
  keyOf(principal: Principal): string {
    let key = this.#keys.get(principal)
    if (key === undefined) {
      key = this.#known.map((scope) => (principal.scopes.includes(scope) ? '1' : '0')).join('')
      this.#keys.set(principal, key)
    }
    return key
  }
}

const toCursor = (kind: ListKind, offset: number): string => Buffer.from(`${kind}:${offset}`).toString('base64url')

function fromCursor(kind: ListKind, cursor: string | undefined, step: number, length: number): number {
  if (cursor === undefined) return 0
  const [, from, digits] = /^(\w+):(\d{1,9})$/.exec(Buffer.from(cursor, 'base64url').toString()) ?? []
  const offset = Number(digits)
  if (
    from !== kind ||
    offset === 0 ||
    offset >= Math.max(length, 1) ||
    offset % step !== 0 ||
    toCursor(kind, offset) !== cursor
  )
    throw new HoldfastError('invalid_params', '`cursor` is not one that this list gave; start again without it.')
  return offset
}

const since = (revision: Revision, first: Revision): boolean => revision >= first

/** Copies the members that are there and that the revision knows. */
function pick(source: object, revision: Revision, members: Readonly<Record<string, Revision>>): JsonObject {
  const picked: JsonObject = {}
  for (const [name, first] of Object.entries(members)) {
    const value = (source as JsonObject)[name]
    if (value !== undefined && since(revision, first)) picked[name] = value
  }
  return picked
}

function listedTool(tool: ToolDefinition, revision: Revision): JsonObject {
  const listed = pick(tool, revision, { name: '2025-03-26', title: '2025-06-18', description: '2025-03-26' })
  listed.inputSchema = tool.input.json
  if (tool.output !== undefined && hasStructuredOutput(tool, revision)) listed.outputSchema = tool.output.json
  return { ...listed, ...pick(tool, revision, { annotations: '2025-03-26', icons: '2025-11-25', _meta: '2025-06-18' }) }
}

/** Before 2026-07-28 only objects may be structured output; 2025-03-26 has none. */
export function hasStructuredOutput(tool: ToolDefinition, revision: Revision): boolean {
  return (
    tool.output !== undefined &&
    (isModern(revision) || (since(revision, '2025-06-18') && tool.output.json.type === 'object'))
  )
}

function listedPrompt(prompt: PromptDefinition, revision: Revision): JsonObject {
  const listed = pick(prompt, revision, { name: '2025-03-26', title: '2025-06-18', description: '2025-03-26' })
  if (prompt.listedArguments.length > 0)
    listed.arguments = prompt.listedArguments.map((argument) =>
      pick(argument, revision, {
        name: '2025-03-26',
        title: '2025-06-18',
        description: '2025-03-26',
        required: '2025-03-26',
      }),
    )
  return { ...listed, ...pick(prompt, revision, { icons: '2025-11-25', _meta: '2025-06-18' }) }
}

function listedResource(resource: object, revision: Revision): JsonObject {
  return pick(resource, revision, {
    uri: '2025-03-26',
    uriTemplate: '2025-03-26',
    name: '2025-03-26',
    title: '2025-06-18',
    description: '2025-03-26',
    mimeType: '2025-03-26',
    size: '2025-03-26',
    annotations: '2025-03-26',
    icons: '2025-11-25',
    _meta: '2025-06-18',
  })
}

function serverInfo(server: ServerDefinition, revision: Revision): JsonObject {
  return pick(server, revision, {
    name: '2025-03-26',
    title: '2025-06-18',
    version: '2025-03-26',
    description: '2025-11-25',
    websiteUrl: '2025-11-25',
    icons: '2025-11-25',
  })
}
