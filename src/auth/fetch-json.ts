/** A fetch that failed: by the network, by status, by size, or by what was sent. Its message holds no credential. */
export class FetchFailure extends Error {
  override readonly name = 'FetchFailure'
}

/** Longest answer that is read: key sets and metadata are some kilobytes. */
const MAX_BYTES = 512 * 1024
/** Time for all that is fetched to decide about one request, which waits for it. */
const FETCH_TIMEOUT_MS = 5000

/** Aborts when a request has waited long enough for what has to be fetched. */
export const fetchDeadline = (): AbortSignal => AbortSignal.timeout(FETCH_TIMEOUT_MS)

/**
 * Fetches a JSON object from the authorization server. Bounded in time (by `signal`) and size, follows no redirect: where keys come from is
 * fixed by configuration, and not for the answering side to move.
 *
 * @throws {FetchFailure}
 */
export async function fetchJson(
  url: string,
  signal: AbortSignal,
  init: RequestInit = {},
): Promise<Record<string, unknown>> {
  const headers = { accept: 'application/json', ...(init.headers as Record<string, string> | undefined) }
  try {
    const response = await fetch(url, { ...init, headers, signal, redirect: 'manual' })
    if (response.status !== 200) {
      await response.body?.cancel()
      throw new FetchFailure(`${url} answered with status ${response.status}.`)
    }
    const value: unknown = JSON.parse(await readText(url, response))
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      throw new FetchFailure(`${url} answered with something other than a JSON object.`)
    return value as Record<string, unknown>
  } catch (cause) {
    if (cause instanceof FetchFailure) throw cause
    if (cause instanceof SyntaxError) throw new FetchFailure(`${url} answered with something other than JSON.`)
    throw new FetchFailure(`${url} could not be fetched.`, { cause })
  }
}

async function readText(url: string, { body }: Response): Promise<string> {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of (body ?? []) as AsyncIterable<Uint8Array>) {
    length += chunk.length
    // Leaving the loop cancels the stream.
    if (length > MAX_BYTES) throw new FetchFailure(`${url} answered with more than ${MAX_BYTES} bytes.`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks, length).toString()
}
