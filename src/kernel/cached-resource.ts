import { partitionOf, type CacheEntry, type Found } from '../cache/cache.ts'
import { textOf, type Codec } from '../cache/codec.ts'
import { ARTIFACT_URI_PREFIX } from '../define/content.ts'
import type { ResourceDefinition } from '../define/resource.ts'
import type { Invocation } from './invocation.ts'

/** What was read of a resource: its contents as JSON. */
export interface ReadContents {
  readonly json: string
  /** Shaped by what the caller has answered. */
  readonly isPersonal: boolean
}

const contentsCodec: Codec<ReadContents> = {
  isShareable: true,
  encode: ({ json }) => Buffer.from(json),
  decode: (bytes) => ({ json: textOf(bytes), isPersonal: false }),
  keepingOf: ({ json, isPersonal }) => (isPersonal || json.includes(ARTIFACT_URI_PREFIX) ? 'own' : 'value'),
}

/** By what `notify.resourceUpdated` invalidates what was read of a resource. No tag of a user's is like it. */
export const resourceTag = (uri: string): string => `\u0000resource:${uri}`

/** What was read of a resource with `cache`, now or before. */
export async function readThroughCache(
  invocation: Invocation,
  resource: ResourceDefinition,
  uri: string,
  read: (signal?: AbortSignal) => Promise<ReadContents>,
): Promise<Found<ReadContents>> {
  const { services, principal, facts } = invocation
  const options = resource.cache!
  const partition = partitionOf(principal, options.scope)
  const isAnswered = facts.params.requestState !== undefined || facts.params.inputResponses !== undefined
  if (partition === undefined || isAnswered) {
    services.telemetry.cached(resource.name, 'bypassed')
    return { value: await read(), from: 'computed', freshForMs: options.ttlMs }
  }
  const tags = typeof options.tags === 'function' ? options.tags(uri) : (options.tags ?? [])
  const entry: CacheEntry = {
    ...options,
    cache: resource.name,
    key: uri,
    partition,
    tags: [...tags, resourceTag(uri)],
    version: `${options.version ?? ''}\n${resource.mimeType ?? ''}`,
  }
  return services.cache.through(entry, read, contentsCodec, invocation)
}

/** What clients are told of how long to keep it (MCP 2026-07-28, `CacheableResult`). */
export function cacheHints(resource: ResourceDefinition, { value, freshForMs }: Found<ReadContents>): string {
  // What a user's answer has shaped is for this call alone.
  if (value.isPersonal) return ',"ttlMs":0,"cacheScope":"private"'
  const { cache, ttlMs, scopes } = resource
  const isPublic = cache === undefined ? resource.cacheScope === 'public' : cache.scope === 'public'
  const keptMs = cache === undefined ? (ttlMs ?? 0) : Math.floor(Math.min(freshForMs, ttlMs ?? Infinity))
  // What some may not read, no cache outside may keep for all.
  return `,"ttlMs":${keptMs},"cacheScope":"${isPublic && scopes === undefined ? 'public' : 'private'}"`
}
