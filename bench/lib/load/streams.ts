/** Many idle event streams, opened and held. */
import { Connection, exchange } from './connection.ts'
import { initializeMessage, postBytes } from './request.ts'
import type { Wire } from './request.ts'

/** A crowd of streams to open. */
export interface StreamJob {
  port: number
  path: string
  /** `envelope` opens `subscriptions/listen`; `session` opens the GET stream of a fresh session each. */
  wire: Wire
  count: number
}

let held: Connection[] = []
let lost = 0

/** Streams opened at once: below the backlog of a listening socket, so that no connection has to be retried. */
const atOnce = 100
const openTimeoutMs = 20_000

/**
 * Opens the streams and holds them; each counts once its head (and, for `listen`, its first event) has arrived.
 *
 * @throws Error when a stream is refused or does not open within 20 s.
 */
export async function openStreams(job: StreamJob): Promise<{ open: number }> {
  for (let opened = 0; opened < job.count; opened += atOnce) {
    const batch = Math.min(atOnce, job.count - opened)
    held.push(...(await Promise.all(Array.from({ length: batch }, (_, index) => openStream(job, opened + index)))))
  }
  return { open: held.length - lost }
}

/** Closes every held stream and says how many the server had closed before. */
export async function closeStreams(): Promise<{ lost: number }> {
  const result = { lost }
  for (const connection of held) connection.destroy()
  held = []
  lost = 0
  return result
}

async function openStream(job: StreamJob, index: number): Promise<Connection> {
  const request = job.wire.mode === 'session' ? await sessionGet(job) : listenPost(job, index)
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const timeout = setTimeout(
    () => reject(new Error(`stream ${index} did not open in ${openTimeoutMs} ms`)),
    openTimeoutMs,
  )
  const connection = await Connection.open(job.port, {
    onHead: (head) => {
      if (head.status !== 200 || !head.headers.get('content-type')?.startsWith('text/event-stream')) {
        reject(new Error(`stream ${index} answered ${head.status} ${head.headers.get('content-type')}`))
      } else if (job.wire.mode === 'session') resolve()
    },
    onBody: (piece) => {
      if (piece.includes('notifications/subscriptions/acknowledged')) resolve()
    },
    onEnd: () => reject(new Error(`stream ${index} ended at once`)),
    onClose: (reason) => {
      lost += 1
      reject(reason ?? new Error(`stream ${index} was closed`))
    },
  })
  connection.send(request)
  try {
    await promise
  } finally {
    clearTimeout(timeout)
  }
  return connection
}

function listenPost(job: StreamJob, index: number): Buffer {
  const params = { notifications: { toolsListChanged: true } }
  return postBytes({ method: 'subscriptions/listen', id: index + 1, params }, job.wire, job)
}

async function sessionGet(job: StreamJob): Promise<Buffer> {
  const { head, body } = await exchange(job.port, postBytes(initializeMessage(job.wire.revision), job.wire, job))
  const sessionId = head.headers.get('mcp-session-id')
  if (sessionId === undefined) throw new Error(`initialize gave no session (${head.status}): ${body.slice(0, 300)}`)
  return Buffer.from(
    [
      `GET ${job.path} HTTP/1.1`,
      `Host: 127.0.0.1:${job.port}`,
      'Accept: text/event-stream',
      `MCP-Protocol-Version: ${job.wire.revision}`,
      `Mcp-Session-Id: ${sessionId}`,
      '\r\n',
    ].join('\r\n'),
  )
}
