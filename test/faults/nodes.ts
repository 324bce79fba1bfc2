// The nodes of a stand: real ones, in this process, so that what they open can be counted.
import { openSync, readFileSync } from 'node:fs'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { createRuntime, type RuntimeOptions } from '../../src/index.ts'
import { generateKeys } from '../../src/compose/options.ts'
import definition from './definition.ts'

/** A running node. */
export interface FaultNode extends AsyncDisposable {
  readonly url: string
  readonly origin: string
  /** What it has logged. */
  log(): string
}

/** Nodes that share what their options name. */
export interface FaultNodes extends AsyncDisposable {
  readonly all: readonly FaultNode[]
  /** Starts another one, on the same backends. It takes no tasks, which would be another's again when it ends. */
  start(): Promise<FaultNode>
}

/** Leases outlive every fault, so that what runs on after one is the same attempt. */
const WORKER = { concurrency: 20, pollMs: 500, leaseMs: 20_000, hungAfterMs: 15_000 }

/** Starts two. */
export async function startNodes(dir: string, options: RuntimeOptions): Promise<FaultNodes> {
  const keys = generateKeys()
  let count = 0
  const start = async (worker: RuntimeOptions['worker'] = false): Promise<FaultNode> => {
    const file = join(dir, `node-${++count}.log`)
    // Open until this process ends: what a node that could not start still says would go to whoever has the number next.
    const logFd = openSync(file, 'a')
    const runtime = await createRuntime(definition, {
      keys,
      dataDir: dir,
      port: 0,
      logLevel: 'warn',
      logFd,
      drainDeadlineMs: 1000,
      // That the machine is busy with other things is no fault of a backend's.
      maxLoopDelayMs: 10_000,
      // `fetch` keeps connections that it has not used yet: one that is closed for it at that moment is no fault of theirs either.
      headersTimeoutMs: 300_000,
      worker,
      ...options,
    })
    const { url } = await runtime.listen()
    return {
      url,
      origin: new URL(url).origin,
      log: () => readFileSync(file, 'utf8'),
      [Symbol.asyncDispose]: () => runtime.close(),
    }
  }
  await using started = new AsyncDisposableStack()
  const all = [started.use(await start(WORKER)), started.use(await start(WORKER))]
  const stack = started.move()
  return { all, start: () => start(), [Symbol.asyncDispose]: () => stack.disposeAsync() }
}

/** Counts the connections that this process tries to make to some ports, whether they come about or not. */
export class Attempts implements Disposable {
  /** When each was tried, in ms of `performance.now()`. */
  readonly atMs: number[] = []
  readonly #ports: ReadonlySet<number>

  constructor(ports: readonly number[]) {
    this.#ports = new Set(ports)
    subscribe('net.client.socket', this.#onSocket)
  }

  /** The most in any second that begins between two times. */
  mostInASecond(fromMs: number, untilMs: number): number {
    let most = 0
    for (const [index, at] of this.atMs.entries()) {
      if (at < fromMs || at > untilMs) continue
      let end = index
      while (end < this.atMs.length && this.atMs[end]! < at + 1000) end++
      most = Math.max(most, end - index)
    }
    return most
  }

  [Symbol.dispose](): void {
    unsubscribe('net.client.socket', this.#onSocket)
  }

  readonly #onSocket = (message: unknown): void => {
    const { socket } = message as { socket: Socket }
    socket.on('connectionAttempt', (_ip: string, port: number) => {
      if (this.#ports.has(port)) this.atMs.push(performance.now())
    })
  }
}
