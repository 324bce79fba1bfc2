import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Artifacts } from '../../artifacts/artifacts.ts'
import { download } from '../../artifacts/download.ts'
import { HoldfastError } from '../../errors/holdfast-error.ts'

/** A client that takes nothing for so long is let go; it may come back for the rest (`Range`). */
const STALL_MS = 60_000
/** What a sealed link looks like. */
const ROUTE = /^(.*)\/artifacts\/([\w-]{1,8}\.[\w-]{38,1000})$/

/** The sealed link that a path ends with, behind the path of the endpoint (any path, without one); `undefined` for other paths. */
export function linkIn(path: string, endpoint: string | undefined): string | undefined {
  const match = ROUTE.exec(path)
  return match !== null && (endpoint === undefined || match[1] === endpoint.replace(/\/$/, '')) ? match[2] : undefined
}

/** What is answered where a link leads nowhere; why is nobody's business. */
export const linkIsDead = (): HoldfastError =>
  new HoldfastError(
    'not_found',
    'This link to an artifact has expired, or the artifact has gone. Read its resource again.',
  )

/**
 * Serves a download, as fast as its client takes it.
 * @throws {HoldfastError} `not_found`, `backend_failed`; what fails once the answer has begun cuts the connection.
 */
export async function serveDownload(
  artifacts: Artifacts,
  link: string,
  request: IncomingMessage,
  response: ServerResponse,
  more: Readonly<Record<string, string>> | undefined,
  told: { onBegin(): void; onFailure(error: unknown): void },
): Promise<void> {
  const header = (name: string): string | undefined => request.headers[name] as string | undefined
  const answer = await download(artifacts, { method: request.method!, link, header })
  if (answer === undefined) throw linkIsDead()
  const { status, headers, body } = answer
  if (response.destroyed) {
    await body?.cancel()
    return
  }
  told.onBegin()
  response.writeHead(status, { ...headers, ...more })
  if (body === undefined) return void response.end()
  try {
    for await (const piece of body) {
      if (!response.write(piece) && !response.destroyed) await drained(response)
      if (response.destroyed) return
    }
    response.end()
  } catch (error) {
    told.onFailure(error)
    response.destroy()
  }
}

/** Resolves when more can be written, or nothing more ever. */
function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => response.destroy(), STALL_MS)
    const done = (): void => {
      clearTimeout(timer)
      response.off('drain', done)
      response.off('close', done)
      resolve()
    }
    response.on('drain', done)
    response.on('close', done)
  })
}
