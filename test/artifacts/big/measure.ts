// Writes and reads a big artifact through a server in a process of its own, and measures how much memory that took it.
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

/** What it took. */
export interface Measured {
  readonly writeSeconds: number
  readonly readSeconds: number
  readonly downloadSeconds: number
  /** The most that the process had, less what it had before. */
  readonly grownBytes: number
}

/** What is written and read before it is measured: code is compiled, connections stand. */
const WARM_UP_BYTES = 32 * 1024 * 1024

/**
 * @param artifacts where they lie, as `HOLDFAST_ARTIFACTS_URL` says it.
 * @throws Error where what is read differs from what was written.
 */
export async function measure(artifacts: string, dataDir: string, bytes: number): Promise<Measured> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'server.ts')], {
    env: { ...process.env, HOLDFAST_ARTIFACTS_URL: artifacts, HOLDFAST_DATA_DIR: dataDir },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const exited = once(child, 'exit')
  try {
    const [url] = (await once(createInterface(child.stdout), 'line')) as [string]
    await through(url, WARM_UP_BYTES)
    const before = (await memoryOf(url)).now
    const times = await through(url, bytes)
    return { ...times, grownBytes: (await memoryOf(url)).most - before }
  } finally {
    child.kill('SIGKILL')
    await exited
  }
}

async function through(url: string, bytes: number): Promise<Omit<Measured, 'grownBytes'>> {
  const [writeSeconds, written] = await timed(() => call(url, 'write', { bytes }))
  const { uri, size } = written.content[0] as { uri: string; size: number }
  if (size !== bytes) throw new Error(`${bytes} bytes were written, and the link says ${size}.`)
  const [readSeconds, read] = await timed(() => call(url, 'digest', { uri }))
  const { error } = await post(url, 'resources/read', { uri })
  const [downloadSeconds, digest] = await timed(async () => {
    const hash = createHash('sha256')
    const response = await fetch(new URL(error.data.url as string, url))
    for await (const piece of response.body!) hash.update(piece)
    return hash.digest('hex')
  })
  if (digest !== read.content[0].text) throw new Error('What was downloaded differs from what the handler has read.')
  return { writeSeconds, readSeconds, downloadSeconds }
}

async function timed<T>(work: () => Promise<T>): Promise<[seconds: number, value: T]> {
  const startedMs = performance.now()
  const value = await work()
  return [(performance.now() - startedMs) / 1000, value]
}

const memoryOf = async (url: string): Promise<{ now: number; most: number }> =>
  JSON.parse((await call(url, 'memory', {})).content[0].text) as { now: number; most: number }
const call = async (url: string, name: string, args: object): Promise<any> => {
  const { result, error } = await post(url, 'tools/call', { name, arguments: args })
  if (result === undefined || result.isError === true) throw new Error(JSON.stringify(error ?? result))
  return result
}

async function post(
  url: string,
  method: string,
  params: { name?: string; uri?: string; arguments?: object },
): Promise<any> {
  const response = await fetch(url, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'mcp-protocol-version': '2026-07-28',
      'mcp-method': method,
      'mcp-name': params.name ?? params.uri!,
    },
    body: JSON.stringify({
      jsonrpc: '2.0',
      id: 1,
      method,
      params: {
        ...params,
        _meta: {
          'io.modelcontextprotocol/protocolVersion': '2026-07-28',
          'io.modelcontextprotocol/clientCapabilities': {},
        },
      },
    }),
  })
  const text = await response.text()
  // After some seconds the answer is a stream, with comments that keep it alive.
  const json = text.startsWith('{') ? text : /^data: (\{.*"id":1.*)$/m.exec(text)![1]!
  return JSON.parse(json)
}
