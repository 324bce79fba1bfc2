import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Collector } from '../artifacts/collector.ts'
import { Artifacts, type ArtifactsOptions } from '../artifacts/artifacts.ts'
import { isFileUrl, parseFileUrl } from '../backends/filesystem/url.ts'
import { MemoryArtifactStore } from '../backends/memory/artifact-store.ts'
import { isS3Url, parseS3Url } from '../backends/s3/url.ts'
import type { ServerDefinition } from '../define/server.ts'
import { HoldfastError } from '../errors/holdfast-error.ts'
import type { ArtifactStore } from '../ports/artifact-store.ts'
import type { Services } from '../kernel/services.ts'
import type { Clock } from '../ports/clock.ts'
import type { TaskAdmin, TaskStore } from '../ports/task-store.ts'
import { MEMORY_URL, schemeOf } from './backends.ts'
import type { ResolvedOptions } from './options.ts'

/**
 * Checks an artifacts URL.
 * @throws {HoldfastError} `invalid_option` that says what is wrong with it.
 */
export function checkArtifactsUrl(url: string, name: string): void {
  if (isFileUrl(url)) parseFileUrl(url)
  else if (isS3Url(url)) parseS3Url(url)
  else if (url !== MEMORY_URL)
    throw new HoldfastError(
      'invalid_option',
      `${name} has the scheme ${JSON.stringify(schemeOf(url))}; there are file:, s3:// and memory:.`,
    )
}

/**
 * Opens the artifact store that a URL names. Clients are loaded only now: who needs none does not pay for it at start.
 * @throws {HoldfastError} `invalid_option` for a URL that can't be used, or a package that is missing.
 */
export async function openArtifactStore(url: string, clock: Clock): Promise<ArtifactStore> {
  checkArtifactsUrl(url, 'The artifacts URL')
  if (isFileUrl(url)) return (await import('../backends/filesystem/artifact-store.ts')).openFileArtifacts(url, clock)
  if (isS3Url(url)) return (await import('../backends/s3/artifact-store.ts')).openS3Artifacts(url, clock)
  return new MemoryArtifactStore(clock)
}

/**
 * Where artifacts lie: as the options say; else in the data folder, or in memory where there is none. `undefined` where nodes
 * share their state or tasks and it is not said where artifacts are: another node would not find them.
 */
export function placeOfArtifacts(options: ResolvedOptions, isMultiple: boolean): string | ArtifactStore | undefined {
  if (options.artifacts !== undefined) return options.artifacts
  if (isMultiple) return undefined
  if (options.dataDir === false) return MEMORY_URL
  return `file:${pathToFileURL(join(options.dataDir, 'artifacts')).pathname}`
}

/** Collects what nobody needs any more, of a server whose tasks lie in `store`. */
export function createCollector(
  artifacts: Artifacts,
  server: ServerDefinition,
  store: (TaskStore & TaskAdmin) | undefined,
  services: Pick<Services, 'state' | 'clock' | 'telemetry'> & { readonly options: ResolvedOptions },
): Collector {
  const { state, clock, telemetry, options } = services
  const longestAttemptMs = Math.max(0, ...server.tools.map(({ task }) => task?.timeoutMs ?? 0))
  const tasks = store && { store, longestAttemptMs }
  return new Collector({ artifacts, tasks, callTtlMs: options.artifactTtlMs, state, clock, telemetry })
}

/** The artifacts of a runtime; nothing is opened or made before the first is written or read. */
export function createArtifacts(
  options: ResolvedOptions,
  isMultiple: boolean,
  parts: Omit<ArtifactsOptions, 'open' | 'maxArtifactBytes'>,
): Artifacts | undefined {
  const where = placeOfArtifacts(options, isMultiple)
  if (where === undefined) return undefined
  return new Artifacts({
    ...parts,
    maxArtifactBytes: options.maxArtifactBytes,
    open: async () => (typeof where === 'string' ? openArtifactStore(where, parts.clock) : unclosed(where)),
  })
}

/** A store of the user's own: who opened it closes it. */
function unclosed(store: ArtifactStore): ArtifactStore {
  const given: ArtifactStore = {
    put: (...args) => store.put(...args),
    get: (...args) => store.get(...args),
    head: (...args) => store.head(...args),
    delete: (...args) => store.delete(...args),
    list: (...args) => store.list(...args),
    clearUploads: (...args) => store.clearUploads(...args),
    close: async () => undefined,
  }
  return store.signUrl === undefined ? given : { ...given, signUrl: (...args) => store.signUrl!(...args) }
}
