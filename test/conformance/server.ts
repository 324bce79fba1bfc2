import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

/** The built command line program. */
export const CLI = resolve(import.meta.dirname, '../../dist/cli/main.js')

const START_TIMEOUT_MS = 15_000
const STOP_TIMEOUT_MS = 10_000

/** A server that runs in a process of its own. */
export interface RunningServer extends AsyncDisposable {
  /** The MCP endpoint. */
  readonly url: string
  /** The same server without a path. */
  readonly origin: string
  /** What the process has written to stderr lately. */
  stderr(): string
}

/** Settings of {@link startServer}. */
export interface StartOptions {
  /** Flags after the definition's file. */
  flags?: readonly string[]
  /** Variables beside those of this process. */
  env?: Readonly<Record<string, string>>
}

/**
 * Serves a definition by `dist/cli/main.js serve` on a free port of the loopback address; resolves when it is ready.
 * The process ends when the returned object is disposed of, or when `signal` aborts.
 *
 * @param definition path of the definition's module
 * @param cwd folder to run in, where the server may leave files
 * @throws Error if the program is not built, or does not become ready within 15 seconds.
 */
export async function startServer(
  definition: string,
  cwd: string,
  signal: AbortSignal,
  { flags = [], env = {} }: StartOptions = {},
): Promise<RunningServer> {
  if (!existsSync(CLI)) throw new Error(`${CLI} does not exist. Run \`npm run build\` first.`)
  signal.throwIfAborted()
  const port = await freePort()
  const child = spawn(
    process.execPath,
    [CLI, 'serve', definition, '--port', String(port), '--host', '127.0.0.1', ...flags],
    { cwd, env: { ...process.env, ...env }, stdio: ['ignore', 'ignore', 'pipe'] },
  )
  let stderr = ''
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (stderr = (stderr + chunk).slice(-20_000)))
  const exited = once(child, 'exit')
  const stop = async (): Promise<void> => {
    signal.removeEventListener('abort', kill)
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGTERM')
    const timer = setTimeout(kill, STOP_TIMEOUT_MS)
    await exited
    clearTimeout(timer)
  }
  const kill = (): void => void child.kill('SIGKILL')
  signal.addEventListener('abort', kill, { once: true })

  const origin = `http://127.0.0.1:${port}`
  const deadline = performance.now() + START_TIMEOUT_MS
  try {
    while (!(await isReady(origin))) {
      if (child.exitCode !== null || child.signalCode !== null)
        throw new Error(`The server ended at start (${child.exitCode ?? child.signalCode}):\n${stderr}`)
      if (performance.now() > deadline)
        throw new Error(`The server was not ready within ${START_TIMEOUT_MS} ms:\n${stderr}`)
      await sleep(25, undefined, { signal })
    }
  } catch (error) {
    await stop()
    throw error
  }
  return { url: `${origin}/mcp`, origin, stderr: () => stderr, [Symbol.asyncDispose]: stop }
}

async function isReady(origin: string): Promise<boolean> {
  try {
    return (await fetch(`${origin}/readyz`)).ok
  } catch {
    return false // nobody listens there yet
  }
}

/** A port that nobody listened on a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
