import type { Artifact, ArtifactData, ArtifactOptions, ContextArtifacts } from '../define/artifact.ts'
import { content, type ContentBlock, type ResourceLink } from '../define/content.ts'
import { HoldfastError } from '../errors/holdfast-error.ts'
import type { Artifacts } from './artifacts.ts'
import type { ArtifactPlace } from './keys.ts'
import { offload } from './offload.ts'

const MAX_NAME_CHARACTERS = 255

/** The artifacts of one run of a handler: what it writes lies under its own place, and it reads what is its caller's. */
export class PlacedArtifacts implements ContextArtifacts {
  readonly #given: Artifacts | undefined
  readonly #place: ArtifactPlace
  readonly #signal: () => AbortSignal

  /**
   * @param artifacts `undefined` where no store is set that all nodes share.
   * @param signal of the run; asked for when something is written.
   */
  constructor(artifacts: Artifacts | undefined, place: ArtifactPlace, signal: () => AbortSignal) {
    this.#given = artifacts
    this.#place = place
    this.#signal = signal
  }

  async put(data: ArtifactData, options: ArtifactOptions): Promise<ResourceLink & { size: number }> {
    const { name, title, description } = options
    if (typeof name !== 'string' || name === '' || name.length > MAX_NAME_CHARACTERS)
      throw new TypeError(`The name of an artifact must be a text of 1 to ${MAX_NAME_CHARACTERS} characters.`)
    const mimeType = options.mimeType ?? (typeof data === 'string' ? 'text/plain' : 'application/octet-stream')
    if (typeof mimeType !== 'string' || !/^[\x20-\x7e]{1,255}$/.test(mimeType))
      throw new TypeError(
        `The MIME type of the artifact ${JSON.stringify(name)} must be 1 to 255 printable ASCII characters.`,
      )
    const stored = { name: name.toWellFormed(), mimeType, signal: this.#signal() }
    const { uri, size } = await this.#artifacts.put(this.#place, data, stored)
    const told = { ...(title === undefined ? {} : { title }), ...(description === undefined ? {} : { description }) }
    return content.link(uri, stored.name, { ...told, mimeType, size }) as ResourceLink & { size: number }
  }

  async get(uri: string, range?: { from: number; to?: number }): Promise<Artifact | undefined> {
    const found = await this.#artifacts.get(this.#place.owner, uri, range)
    if (found === 'beyond') throw new RangeError(`The range begins at ${range?.from}, behind the end of ${uri}.`)
    if (found === undefined) return undefined
    const { info, body } = found
    return { name: info.name ?? '', mimeType: info.mimeType, size: info.size, body }
  }

  get #artifacts(): Artifacts {
    if (this.#given === undefined)
      throw new HoldfastError(
        'invalid_option',
        'No artifact store is set that can be reached from everywhere that needs it: from each node, where they share state or tasks, and from tools with `isolation`. Set HOLDFAST_ARTIFACTS_URL (artifacts) to a bucket, or to a folder that all of them reach.',
      )
    return this.#given
  }

  /** Puts blocks of a result into the store until those that are left have `maxBytes` or less; see {@link offload}. */
  offload(blocks: readonly ContentBlock[], maxBytes: number, tool: string): Promise<ContentBlock[]> {
    return offload(blocks, maxBytes, tool, (data, options) => this.put(data, options))
  }
}
