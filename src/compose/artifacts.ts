import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Artifacts, type ArtifactsOptions } from '../artifacts/artifacts.ts'
import { isFileUrl, parseFileUrl } from '../backends/filesystem/url.ts'
import { MemoryArtifactStore } from '../backends/memory/artifact-store.ts'
import { isS3Url, parseS3Url } from '../backends/s3/url.ts'
import { HoldfastError } from '../errors/holdfast-error.ts'
import type { ArtifactStore } from '../ports/artifact-store.ts'
import type { Clock } from '../ports/clock.ts'
import { isSharedUrl, MEMORY_URL, schemeOf } from './backends.ts'
import type { ResolvedOptions } from './options.ts'
import { isServerTaskUrl } from './task-store.ts'

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
export function artifactsUrl(options: ResolvedOptions): string | ArtifactStore | undefined {
  const { artifacts, state, tasks } = options
  if (artifacts !== undefined) return artifacts
  if (isSharedUrl(state) || (typeof tasks === 'string' && isServerTaskUrl(tasks))) return undefined
  if (options.dataDir === false) return MEMORY_URL
  return `file:${pathToFileURL(join(options.dataDir, 'artifacts')).pathname}`
}

/** The artifacts of a runtime; nothing is opened or made before the first is written or read. */
export function createArtifacts(
  options: ResolvedOptions,
  parts: Omit<ArtifactsOptions, 'open' | 'maxArtifactBytes'>,
): Artifacts | undefined {
  const where = artifactsUrl(options)
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
