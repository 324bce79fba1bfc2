import { quote } from '../../define/names.ts'
import type { ToolDefinition } from '../../define/tool.ts'
import { HoldfastError } from '../../errors/holdfast-error.ts'
import type { Services } from '../../kernel/services.ts'
import type { HostOptions } from './host.ts'
import { Isolate, type IsolatedEnd, type IsolatedRun } from './isolate.ts'
import type { IsolateSetup } from './protocol.ts'

/** An isolate that has had nothing to do for so long is ended. */
const IDLE_MS = 60_000

/** What isolates are made of. */
export interface IsolatesParts {
  readonly services: Pick<Services, 'clock' | 'telemetry' | 'changes' | 'options' | 'artifacts'>
  /** Module of a thread or a process. */
  readonly entry: URL
  /** URL of the module that exports the server by default; `undefined`: nobody knows. */
  readonly definition: string | undefined
  readonly artifacts: IsolateSetup['artifacts']
  readonly maxCacheBytes: number
  readonly serveState: HostOptions['serveState']
}

interface Idle {
  readonly isolate: Isolate
  readonly left: AbortController
}

/** The threads and processes of a worker's tools: one for each attempt that runs, kept for the next one for a while. */
export class Isolates {
  readonly #parts: IsolatesParts
  readonly #idle = new Map<string, Idle[]>()
  readonly #ending = new Set<Promise<void>>()
  #isClosed = false

  constructor(parts: IsolatesParts) {
    this.#parts = parts
  }

  /**
   * Starts one of each kind, so that a module that can't be loaded, or lacks one of the tools, is known before a task is taken.
   * @throws {HoldfastError} `invalid_option` where the module of the definition is not known; what loading it throws.
   */
  async prepare(tools: readonly ToolDefinition[]): Promise<void> {
    const firsts = new Map(tools.toReversed().map((tool) => [tool.task!.isolation, tool]))
    const names = tools.map(({ name }) => name)
    await Promise.all(
      Array.from(firsts.values(), async (tool) => this.#giveBack(tool.name, await this.#start(tool, names))),
    )
  }

  /**
   * Runs an attempt, apart.
   * @throws where no isolate can be started.
   */
  async run(tool: ToolDefinition, run: Omit<IsolatedRun, 'timeoutMs' | 'graceMs'>): Promise<IsolatedEnd> {
    const isolate = this.#take(tool.name) ?? (await this.#start(tool))
    const { timeoutMs, graceMs } = tool.task!
    const end = await isolate.run({ ...run, timeoutMs, graceMs })
    this.#giveBack(tool.name, isolate)
    return end
  }

  async close(): Promise<void> {
    this.#isClosed = true
    for (const { isolate, left } of [...this.#idle.values()].flat()) {
      left.abort()
      this.#end(isolate)
    }
    this.#idle.clear()
    await Promise.all(this.#ending)
  }

  async #start({ name, task }: ToolDefinition, expected: readonly string[] = []): Promise<Isolate> {
    const { entry, definition, artifacts, maxCacheBytes, serveState, services } = this.#parts
    if (definition === undefined)
      throw new HoldfastError(
        'invalid_option',
        `The tool ${quote(name)} has \`isolation\`, so its worker must load the server's module again: name it by the option \`worker: { definition: import.meta.url }\` in the module that exports the server by default, or start it by the command \`holdfast\`.`,
      )
    const { isolation, maxHeapMb } = task!
    const { questionTtlMs } = services.options
    return Isolate.start({
      kind: isolation!,
      host: {
        entry,
        maxHeapMb,
        serveState,
        setup: { definition, tool: name, expected, questionTtlMs, maxCacheBytes, artifacts },
      },
      clock: services.clock,
      telemetry: services.telemetry,
      notify: services.changes.notify,
      onArtifactsUsed: () => services.artifacts?.used(),
    })
  }

  /** The one that was used last: the others may end. */
  #take(tool: string): Isolate | undefined {
    const idle = this.#idle.get(tool) ?? []
    for (let one = idle.pop(); one !== undefined; one = idle.pop()) {
      one.left.abort()
      if (one.isolate.isUsable) return one.isolate
    }
    return undefined
  }

  #giveBack(tool: string, isolate: Isolate): void {
    if (this.#isClosed || !isolate.isUsable) return this.#end(isolate)
    const left = new AbortController()
    const one: Idle = { isolate, left }
    const idle = this.#idle.get(tool) ?? []
    this.#idle.set(tool, idle)
    idle.push(one)
    this.#parts.services.clock.sleep(IDLE_MS, left.signal).then(
      () => {
        idle.splice(idle.indexOf(one), 1)
        this.#end(isolate)
      },
      () => undefined, // it has work
    )
  }

  #end(isolate: Isolate): void {
    const ending = isolate.kill().finally(() => this.#ending.delete(ending))
    this.#ending.add(ending)
  }
}
