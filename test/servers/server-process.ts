// A server in a process (or container) of its own: started, signalled, started again, and never left behind.
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Program } from './programs.ts'
import { announce, freePorts, run, until } from './tools.ts'
import { guard, release, type Ward } from './watchdog.ts'

/** What to start, and how to know that it is up. */
export interface ServerSpec {
  /** For messages and folder names. */
  readonly name: string
  readonly program: Program
  readonly args: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  readonly startTimeoutMs?: number
  isReady(): Promise<boolean>
}

/** The server's own folder and ports, of which its specification is made. */
export interface Place {
  readonly dir: string
  readonly ports: readonly number[]
}

const STOP_TIMEOUT_MS = 10_000
const START_TIMEOUT_MS = 20_000
const END_TIMEOUT_MS = 30_000
let counter = 0

/** A running server. */
export class ServerProcess implements AsyncDisposable {
  /** Its data, configuration and log. */
  readonly dir: string
  readonly #spec: ServerSpec
  #child: ChildProcess | undefined
  #ended: Promise<number | NodeJS.Signals> | undefined
  #container: string | undefined

  private constructor(spec: ServerSpec, dir: string) {
    this.#spec = spec
    this.dir = dir
  }

  /**
   * Starts a server on free ports in a folder of its own. A port that somebody else took in the meantime is met by another try.
   * @throws Error with the end of the server's log.
   */
  static async launch(
    name: string,
    portCount: number,
    specOf: (place: Place) => ServerSpec | Promise<ServerSpec>,
  ): Promise<ServerProcess> {
    for (let attempt = 1; ; attempt++) {
      const dir = await mkdtemp(join(tmpdir(), `${name}-`))
      guard({ folder: dir })
      const server = new ServerProcess(await specOf({ dir, ports: await freePorts(portCount) }), dir)
      try {
        await server.start()
        return server
      } catch (error) {
        const hasEnded = server.pid === undefined
        await server[Symbol.asyncDispose]()
        if (!hasEnded || attempt === 3) throw error
      }
    }
  }

  /** The process id; `undefined` while it is down. */
  get pid(): number | undefined {
    return this.#child?.pid
  }

  /** The end of what it has logged. */
  log(): string {
    return readFileSync(join(this.dir, 'output'), 'utf8').slice(-3000)
  }

  /** Starts it (again), on the same ports and data; resolves when it is ready. */
  async start(): Promise<void> {
    const { name, program, args, env, isReady, startTimeoutMs = START_TIMEOUT_MS } = this.#spec
    if (this.#child !== undefined) throw new Error(`${name} runs already.`)
    await mkdir(this.dir, { recursive: true })
    const output = openSync(join(this.dir, 'output'), 'a')
    const [command, ...rest] = this.#commandLine(program, args, env)
    const child = spawn(command!, rest, {
      cwd: this.dir,
      env: { ...process.env, ...env },
      stdio: ['ignore', output, output],
      detached: true,
    })
    closeSync(output)
    if (child.pid === undefined) {
      const [error] = (await once(child, 'error')) as [Error]
      throw new Error(`${name} could not be started: ${error.message}`, { cause: error })
    }
    const ward: Ward =
      this.#container === undefined
        ? { group: child.pid }
        : { container: this.#container, engine: program.container!.engine }
    guard(ward)
    this.#child = child
    this.#ended = once(child, 'exit').then(async ([code, signal]) => {
      if (this.#child === child) this.#child = undefined
      await release(ward) // also where it ended by itself: its number may be another process's soon
      return (code ?? signal) as number | NodeJS.Signals
    })
    try {
      await until(`${name} being ready`, startTimeoutMs, async () => {
        if (this.#child === undefined) return true
        return isReady()
      })
      if (this.#child === undefined)
        throw new Error(`${name} ended at its start (${child.exitCode ?? child.signalCode}).`)
    } catch (error) {
      throw new Error(`${(error as Error).message}\n${this.log()}`, { cause: error })
    }
  }

  /** Sends a signal and does not wait. */
  signal(signal: NodeJS.Signals): void {
    if (this.#child?.pid === undefined) throw new Error(`${this.#spec.name} does not run: it can't be sent ${signal}.`)
    if (this.#container === undefined) process.kill(-this.#child.pid, signal)
    else
      run(this.#spec.program.container!.engine, ['kill', '--signal', signal, this.#container], {
        timeoutMs: 10_000,
      }).catch((error: unknown) => announce(`${this.#spec.name}: ${(error as Error).message}`))
  }

  /** Kills it at once, as a power failure does; resolves with its exit code, or the signal that ended it, when it has gone. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<number | NodeJS.Signals | undefined> {
    if (this.#child === undefined) return undefined
    this.signal(signal)
    const late = sleep(END_TIMEOUT_MS, undefined, { ref: false }).then(() => {
      throw new Error(`${this.#spec.name} did not end within ${END_TIMEOUT_MS} ms of ${signal}.\n${this.log()}`)
    })
    return Promise.race([this.#ended!, late])
  }

  /** Stops it in its tracks, as a stalled machine does; connections stay open. */
  pause(): void {
    this.signal('SIGSTOP')
  }

  /** Lets it go on. */
  resume(): void {
    this.signal('SIGCONT')
  }

  /** Ends it and removes its folder. */
  async [Symbol.asyncDispose](): Promise<void> {
    const timer = setTimeout(() => this.#child !== undefined && this.signal('SIGKILL'), STOP_TIMEOUT_MS)
    if (this.#child !== undefined) this.signal('SIGCONT') // one that is paused would not see the next signal
    await this.kill('SIGTERM')
    clearTimeout(timer)
    await rm(this.dir, { recursive: true, force: true, maxRetries: 5 })
    await release({ folder: this.dir })
  }

  #commandLine(
    { command, container }: Program,
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ): string[] {
    if (container === undefined) return [command, ...args]
    this.#container = `holdfast-test-${process.pid}-${++counter}`
    const user = `${process.getuid!()}:${process.getgid!()}`
    const variables = Object.entries(env).flatMap(([name, value]) => ['--env', `${name}=${value}`])
    const place = ['--network', 'host', '--volume', `${this.dir}:${this.dir}`, '--workdir', this.dir, '--user', user]
    return [
      container.engine,
      'run',
      '--rm',
      '--name',
      this.#container,
      ...place,
      ...variables,
      '--entrypoint',
      command,
      container.image,
      ...args,
    ]
  }
}
