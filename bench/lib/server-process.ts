/** Starts a server under test and waits for its first right answer. */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { createServer } from 'node:net'
import { performance } from 'node:perf_hooks'
import { stop, track } from './children.ts'
import { onServerCore } from './cores.ts'
import type { Cores } from './cores.ts'
import { exchange } from './load/connection.ts'
import type { ResponseHead } from './load/response-parser.ts'

/** How a server is started. The port is given in `PORT`, the address in `HOST`. */
export interface ServerCommand {
  name: string
  /** Arguments of Node: the script and its own. */
  args: readonly string[]
  cwd?: string
  env?: Readonly<Record<string, string>>
}

/** A running server. */
export interface ServerProcess {
  readonly pid: number
  readonly port: number
  /** Milliseconds from spawn to the first right answer. */
  readonly firstAnswerMs: number
  /** Asks the probe (see `memory-probe.ts`) for figures after a forced collection. Only with `probe`. */
  memory(): Promise<MemoryReading>
  stop(): Promise<void>
}

/** Memory of a server as it sees itself, bytes, after a forced collection. */
export interface MemoryReading {
  rss: number
  heapUsed: number
  external: number
}

export interface StartOptions {
  cores: Cores
  /** Request that decides readiness, and whether its answer is right. */
  first(port: number): { bytes: Buffer; accept(head: ResponseHead, body: string): boolean }
  /** Loads the memory probe into the server. */
  probe?: boolean
}

const startTimeoutMs = 30_000
/** Pause between two attempts to connect: the resolution of `firstAnswerMs`. */
const pollMs = 1
const probePath = new URL('./memory-probe.ts', import.meta.url).href

/**
 * Starts a server on its core and waits for its first right answer.
 *
 * @throws Error with what the server printed, when it exits or gives no right answer within 30 s.
 */
export async function startServer(command: ServerCommand, options: StartOptions): Promise<ServerProcess> {
  const port = await freePort()
  const nodeArgs = options.probe === true ? ['--expose-gc', '--import', probePath] : []
  const [file, ...args] = onServerCore(options.cores, [process.execPath, ...nodeArgs, ...command.args])
  const startedAt = performance.now()
  const child = spawn(file!, args, {
    cwd: command.cwd,
    env: { ...serverEnvironment(), PORT: String(port), HOST: '127.0.0.1', ...command.env },
    // Output of the server is its access log: written for real, to where it costs a write and no disk.
    stdio: options.probe === true ? ['ignore', 'ignore', 'pipe', 'ipc'] : ['ignore', 'ignore', 'pipe'],
  })
  track(child)
  const output = tailOf(child)
  let exited: string | undefined
  child.once('exit', (code, signal) => {
    exited = `exited with ${signal ?? code}`
  })
  child.once('error', (error) => {
    exited = String(error)
  })
  const request = options.first(port)
  let last = 'no connection'
  for (;;) {
    if (exited !== undefined) throw new Error(`${command.name} ${exited} before its first answer\n${output()}`)
    try {
      const { head, body } = await exchange(port, request.bytes)
      if (request.accept(head, body)) break
      last = `${head.status} ${body.slice(0, 300)}`
    } catch (error) {
      // Refused while the server is still starting.
      last = String(error)
    }
    if (performance.now() - startedAt > startTimeoutMs) {
      await stop(child)
      throw new Error(`${command.name} gave no right answer in ${startTimeoutMs} ms; last: ${last}\n${output()}`)
    }
    await new Promise((resolve) => {
      setTimeout(resolve, pollMs)
    })
  }
  const firstAnswerMs = performance.now() - startedAt
  return { pid: child.pid!, port, firstAnswerMs, memory: () => askMemory(child, command.name), stop: () => stop(child) }
}

/** The bench's environment without what would change the servers under test. */
function serverEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^(NODE_OPTIONS|HOLDFAST_|LOG_LEVEL$|OTEL_|REDIS_URL$|DATABASE_URL$)/.test(name),
  )
  return { ...Object.fromEntries(kept), NODE_ENV: 'production' }
}

/** Keeps the last lines of stderr, to be shown when the server fails. */
function tailOf(child: ChildProcess): () => string {
  let tail = ''
  child.stderr!.setEncoding('utf8')
  child.stderr!.on('data', (text: string) => {
    tail = (tail + text).slice(-4000)
  })
  return () => tail
}

function askMemory(child: ChildProcess, name: string): Promise<MemoryReading> {
  return new Promise((resolve, reject) => {
    const onExit = () => reject(new Error(`${name} ended while its memory was read`))
    child.once('exit', onExit)
    child.once('message', (reading) => {
      child.off('exit', onExit)
      resolve(reading as MemoryReading)
    })
    child.send('bench:memory')
  })
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      server.close(() => resolve(port))
    })
  })
}
