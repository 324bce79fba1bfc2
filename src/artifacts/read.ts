import { toResourceContents, type ResourceContents } from '../define/content.ts'
import { HoldfastError } from '../errors/holdfast-error.ts'
import type { StoredArtifact } from '../ports/artifact-store.ts'
import type { Artifacts } from './artifacts.ts'

/** What is text, in messages and on screens. */
const TEXT = /^(?:text\/|application\/(?:json|xml|yaml|javascript|x-ndjson|sql|[\w.-]+\+(?:json|xml|yaml))(?:;|$))/i

/**
 * Contents of an artifact of an owner for `resources/read`: as text where its type says so and its bytes are UTF-8, else as base64.
 * `undefined`: there is none of this owner.
 * @throws {HoldfastError} `artifact_too_large` with `data.url`, where it has more than `maxBytes`.
 */
export async function readContents(
  artifacts: Artifacts,
  owner: string,
  uri: string,
  maxBytes: number,
): Promise<ResourceContents | undefined> {
  const found = await artifacts.get(owner, uri)
  if (found === undefined || found === 'beyond') return undefined
  const { info } = found
  if (info.size > maxBytes) {
    await found.body.cancel()
    const url = await artifacts.urlOf(info)
    throw new HoldfastError(
      'artifact_too_large',
      `${uri} has ${info.size} bytes; at most ${maxBytes} are read at once.${url === undefined ? '' : ' Download it from `data.url`.'}`,
      { data: { uri, size: info.size, mimeType: info.mimeType, maxBytes, ...url } },
    )
  }
  const bytes = await wholeOf(found)
  return toResourceContents(uri, (TEXT.test(info.mimeType) ? textOf(bytes) : undefined) ?? bytes, info.mimeType)
}

/** All bytes of what was opened: for what is known to be small. */
export async function wholeOf({ from, to, body }: StoredArtifact): Promise<Uint8Array> {
  const bytes = new Uint8Array(to - from)
  let at = 0
  for await (const part of body) {
    bytes.set(part, at)
    at += part.length
  }
  return bytes
}

function textOf(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return undefined // its type says text, and it is none
  }
}
