import type { ResourceLink } from './content.ts'

/** What can be put: text or bytes, whole or as they come. Streams of Node and of the web are async iterables. */
export type ArtifactData = AsyncIterable<Uint8Array | string> | Uint8Array | string

/** How an artifact is described to who gets a link to it. */
export interface ArtifactOptions {
  /** What a person would call it: `report.pdf`. Any text of 1 to 255 characters; it is no part of a path. */
  name: string
  /** Default: `text/plain` of text that was given whole, else `application/octet-stream`. */
  mimeType?: string
  /** Name for people, where `name` is a file's. */
  title?: string
  description?: string
}

/** An artifact that is being read. */
export interface Artifact {
  readonly name: string
  readonly mimeType: string
  /** Bytes, of the whole. */
  readonly size: number
  /** The bytes asked for, read as they are asked for. Read to the end, or cancel it. */
  readonly body: ReadableStream<Uint8Array>
}

/**
 * Results that are too big for a message: they lie in the artifact store, and clients get links to them. Both ways they stream,
 * and are never held whole.
 */
export interface ContextArtifacts {
  /**
   * Writes an artifact. Return the link, alone or among other content: the caller reads it by `resources/read` or by download.
   * In a handler that asks questions or is a task put it within a `ctx.step`, so that a later run finds the link of the first.
   * @throws {HoldfastError} `artifact_too_large`; `backend_failed`; what the data throws; the reason of `ctx.signal`.
   */
  put(data: ArtifactData, options: ArtifactOptions): Promise<ResourceLink & { size: number }>
  /**
   * Opens an artifact of this caller by the `uri` of its link; `undefined` where there is none, or it is another's.
   * @param range bytes from `from` up to, not including, `to`. Default: all.
   * @throws {RangeError} where the range begins behind the end, or is none.
   */
  get(uri: string, range?: { from: number; to?: number }): Promise<Artifact | undefined>
}
