/** Many idle event streams, opened and held. */
import { performance } from 'node:perf_hooks'
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
/** Told of each change that a held stream hears of. */
let onChange: (stream: number) => void = () => undefined
let streams = 0

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

const changed = '/list_changed'
const fanOutTimeoutMs = 20_000
/** Time after the last stream has heard, in which one could hear again. */
const repeatMs = 50

/** How long a change took from the call that announced it. */
export interface FanOutResult {
  medianMs: number
  lastMs: number
  /** Streams that heard of it more than once. */
  repeats: number
}

/**
 * Calls the tool `touch`, and waits until every held stream has heard of the change.
 *
 * @throws Error when some have not within 20 s.
 */
export async function fanOut({ port, path }: { port: number; path: string }): Promise<FanOutResult> {
  const wire: Wire = { revision: '2026-07-28', mode: 'envelope' }
  const bytes = postBytes({ method: 'tools/call', id: 1, params: { name: 'touch', arguments: {} } }, wire, {
    port,
    path,
  })
  const heard = new Map<number, number>()
  let repeats = 0
  const all = Promise.withResolvers<void>()
  const expected = held.length - lost
  const startedAt = performance.now()
  onChange = (stream) => {
    if (heard.has(stream)) repeats += 1
    else if (heard.set(stream, performance.now() - startedAt).size === expected) all.resolve()
  }
  const timer = setTimeout(
    () => all.reject(new Error(`${heard.size} of ${expected} streams heard of a change in ${fanOutTimeoutMs} ms`)),
    fanOutTimeoutMs,
  )
  try {
    const { head } = await exchange(port, bytes)
    if (head.status !== 200) throw new Error(`touch answered ${head.status}`)
    await all.promise
    await new Promise((resolve) => {
      setTimeout(resolve, repeatMs)
    })
  } finally {
    clearTimeout(timer)
    onChange = () => undefined
  }
  const times = [...heard.values()].toSorted((a, b) => a - b)
  return { medianMs: times[times.length >> 1]!, lastMs: times.at(-1)!, repeats }
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
  const stream = streams++
  const connection = await Connection.open(job.port, {
    onHead: (head) => {
      if (head.status !== 200 || !head.headers.get('content-type')?.startsWith('text/event-stream')) {
        reject(new Error(`stream ${index} answered ${head.status} ${head.headers.get('content-type')}`))
      } else if (job.wire.mode === 'session') resolve()
    },
    onBody: (piece) => {
      if (piece.includes('notifications/subscriptions/acknowledged')) resolve()
      for (let at = piece.indexOf(changed); at !== -1; at = piece.indexOf(changed, at + 1)) onChange(stream)
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
