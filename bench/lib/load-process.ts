/** The bench's side of the load process. */
import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { stop, track } from './children.ts'
import type { LoadJob, LoadResult } from './load/generator.ts'
import type { LoadCommand } from './load/main.ts'
import type { OpenLoopJob, OpenLoopResult } from './load/open-loop.ts'
import type { FanOutResult, StreamJob } from './load/streams.ts'

/** A process that makes load; it runs on the core of the bench, which sleeps meanwhile. */
export class LoadProcess {
  readonly #child: ChildProcess

  constructor() {
    this.#child = fork(new URL('./load/main.ts', import.meta.url), { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    track(this.#child)
  }

  /** @throws Error as {@link runLoad} says. */
  load(job: LoadJob): Promise<LoadResult> {
    return this.#run({ kind: 'load', job }) as Promise<LoadResult>
  }

  openLoop(job: OpenLoopJob): Promise<OpenLoopResult> {
    return this.#run({ kind: 'open-loop', job }) as Promise<OpenLoopResult>
  }

  openStreams(job: StreamJob): Promise<{ open: number }> {
    return this.#run({ kind: 'open-streams', job }) as Promise<{ open: number }>
  }

  fanOut(job: { port: number; path: string }): Promise<FanOutResult> {
    return this.#run({ kind: 'fan-out', job }) as Promise<FanOutResult>
  }

  closeStreams(): Promise<{ lost: number }> {
    return this.#run({ kind: 'close-streams' }) as Promise<{ lost: number }>
  }

  stop(): Promise<void> {
    return stop(this.#child)
  }

  #run(command: LoadCommand): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const onExit = (code: number | null) => reject(new Error(`the load process ended with ${code}`))
      this.#child.once('exit', onExit)
      this.#child.once('message', (answer: { result?: unknown; error?: string }) => {
        this.#child.off('exit', onExit)
        if (answer.error === undefined) resolve(answer.result)
        else reject(new Error(answer.error))
      })
      this.#child.send(command)
    })
  }
}
