// A node or a worker of a run as the nemesis has it in hand.
import { copyFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { ServerProcess } from '../../servers/server-process.ts'
import { isUp, tell, type Commands } from './control.ts'

const MAX_STARTS = 20

/** What it is started with, given its ports. */
export interface Launch {
  readonly name: string
  readonly module: string
  readonly settings: (ports: { readonly control: number; readonly http: number }) => object
  readonly env?: Readonly<Record<string, string>>
}

/** A process that is killed, paused, told things, and always comes back. */
export class ChaosProcess implements AsyncDisposable {
  readonly name: string
  readonly httpPort: number
  readonly #server: ServerProcess
  readonly #controlPort: number
  #isClosing = false
  #reviving: Promise<void> | undefined

  private constructor(name: string, server: ServerProcess, ports: { control: number; http: number }) {
    this.name = name
    this.#server = server
    this.#controlPort = ports.control
    this.httpPort = ports.http
  }

  /** Starts it; resolves when it is up. */
  static async launch({ name, module, settings, env = {} }: Launch): Promise<ChaosProcess> {
    let ports = { control: 0, http: 0 }
    const server = await ServerProcess.launch(name, 2, async ({ ports: [control, http] }) => {
      ports = { control: control!, http: http! }
      return {
        name,
        program: { command: process.execPath, origin: 'this repository' },
        args: [module, JSON.stringify(settings(ports))],
        env,
        isReady: () => isUp(ports.control),
      }
    })
    return new ChaosProcess(name, server, ports)
  }

  /** Whether it runs, and is not on its way to. */
  get isUp(): boolean {
    return this.#server.pid !== undefined && this.#reviving === undefined
  }

  tell<Name extends keyof Commands>(name: Name, command: Commands[Name]): Promise<void> {
    return tell(this.#controlPort, name, command)
  }

  async kill(): Promise<void> {
    await this.#server.kill('SIGKILL')
  }
  pause(): void {
    this.#server.pause()
  }
  resume(): void {
    this.#server.resume()
  }

  /**
   * Starts it again after a while, as a supervisor would: until it stays up, since one that can't reach its store at its start
   * gives up. Resolves when it is up; until then {@link isUp} is false.
   */
  revive(afterMs = 0): Promise<void> {
    this.#reviving ??= this.#start(afterMs).finally(() => (this.#reviving = undefined))
    return this.#reviving
  }

  async #start(afterMs: number): Promise<void> {
    await sleep(afterMs)
    for (let tries = 1; !this.#isClosing && this.#server.pid === undefined; tries++)
      try {
        await this.#server.start()
      } catch (error) {
        if (tries >= MAX_STARTS) throw error
        await this.#server.kill('SIGKILL')
        await sleep(200)
      }
  }

  /** Resolves when it has died by itself; `false`: it had not within `ms`. */
  async hasDied(ms: number): Promise<boolean> {
    const untilMs = performance.now() + ms
    while (performance.now() < untilMs) {
      if (this.#server.pid === undefined) return true
      await sleep(20)
    }
    return false
  }

  /** Keeps all that it wrote. */
  async keepLog(path: string): Promise<void> {
    await copyFile(join(this.#server.dir, 'output'), path)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosing = true
    await this.#reviving?.catch(() => undefined) // it could not be started, which is well now
    await this.#server.kill('SIGKILL')
    await this.#server[Symbol.asyncDispose]()
  }
}
