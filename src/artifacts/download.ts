import type { ArtifactInfo, ByteRange } from '../ports/artifact-store.ts'
import type { Artifacts } from './artifacts.ts'

/** A request for a download, of whatever transport. */
export interface DownloadRequest {
  readonly method: string
  /** What ends the path. */
  readonly link: string
  /** A header by its lower-case name. */
  header(name: string): string | undefined
}

/** The answer to it. */
export interface DownloadAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  /** Read it to the end, or cancel it. */
  readonly body: ReadableStream<Uint8Array> | undefined
}

/** What browsers are told, since an artifact may be a page that somebody else has written: it must not run as one of ours. */
const SAFETY = {
  'x-content-type-options': 'nosniff',
  'content-security-policy': "sandbox; default-src 'none'",
  'referrer-policy': 'no-referrer',
}

/**
 * Serves an artifact by its sealed link (RFC 9110, section 14, for ranges: one at a time; of several, the whole is sent).
 * `undefined`: the link was not made here, its time is up, or the artifact has gone.
 * @throws {HoldfastError} `backend_failed`
 */
export async function download(artifacts: Artifacts, request: DownloadRequest): Promise<DownloadAnswer | undefined> {
  const key = artifacts.openLink(request.link)
  if (key === undefined) return undefined
  const store = await artifacts.store()
  const info = await store.head(key)
  if (info === undefined) return undefined
  const headers = {
    ...SAFETY,
    'content-type': info.mimeType,
    'content-disposition': disposition(info.name),
    'accept-ranges': 'bytes',
    // An object never changes, so its key says all.
    etag: etagOf(info),
    'cache-control': 'private, max-age=3600, immutable',
  }
  if (request.header('if-none-match') === etagOf(info)) return { status: 304, headers, body: undefined }
  const range = rangeOf(request, info)
  if (range === 'beyond')
    return { status: 416, headers: { ...headers, 'content-range': `bytes */${info.size}` }, body: undefined }
  const { from, to } = range ?? { from: 0, to: info.size }
  const length = { 'content-length': String(to - from) }
  const place: Record<string, string> =
    range === undefined ? {} : { 'content-range': `bytes ${from}-${to - 1}/${info.size}` }
  const status = range === undefined ? 200 : 206
  const head = { status, headers: { ...headers, ...place, ...length } }
  if (request.method === 'HEAD') return { ...head, body: undefined }
  const found = await store.get(key, range)
  return found === undefined || found === 'beyond' ? undefined : { ...head, body: found.body }
}

const etagOf = ({ key }: ArtifactInfo): string => `"${key.slice(key.lastIndexOf('/') + 1)}"`

function rangeOf({ method, header }: DownloadRequest, info: ArtifactInfo): Required<ByteRange> | 'beyond' | undefined {
  const match = /^bytes=\s*(?:(\d{1,15})-(\d{0,15})|-(\d{1,15}))\s*$/.exec(header('range') ?? '')
  const condition = header('if-range')
  if (match === null || method !== 'GET' || (condition !== undefined && condition !== etagOf(info))) return undefined
  const { size } = info
  const [, first, last = '', suffix] = match
  if (suffix !== undefined) {
    const from = Math.max(0, size - Number(suffix))
    return Number(suffix) === 0 || size === 0 ? 'beyond' : { from, to: size }
  }
  const from = Number(first)
  if (last !== '' && Number(last) < from) return undefined // no range: to be ignored
  return from >= size ? 'beyond' : { from, to: last === '' ? size : Math.min(size, Number(last) + 1) }
}

/** RFC 6266: an ASCII name for old clients, and the whole name as RFC 8187 has it. */
function disposition(name: string | undefined): string {
  if (name === undefined) return 'attachment'
  const plain = name.replaceAll(/[^\x20-\x7e]|["\\%/]/g, '_')
  const encoded = encodeURIComponent(name).replaceAll(/['()*!]/g, (one) => `%${one.charCodeAt(0).toString(16)}`)
  return `attachment; filename="${plain}"; filename*=UTF-8''${encoded}`
}
