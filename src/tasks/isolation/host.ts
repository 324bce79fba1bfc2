import { fork } from 'node:child_process'
import { Worker } from 'node:worker_threads'
import type { FromIsolate, IsolateSetup, ToIsolate } from './protocol.ts'

/** How a tool is kept apart from the rest of a worker. */
export type IsolationKind = 'thread' | 'process'

/** A thread or a process, seen from its worker. */
export interface Host {
  tell(message: ToIsolate): void
  /** Ends it, whatever it does; resolves when it has gone. */
  kill(): Promise<void>
  /** Resolves with why it has ended, for people. */
  readonly ended: Promise<string>
}

/** A way for messages that are none of an attempt's: of the store and the bus, which an isolate reaches through its worker. */
export interface StatePort {
  send(message: unknown): void
  onMessage(listener: (message: unknown) => void): void
  onClose(listener: () => void): void
}

/** How a host is started. */
export interface HostOptions {
  /** Module that runs in it. */
  readonly entry: URL
  readonly setup: IsolateSetup
  readonly maxHeapMb: number
  readonly onMessage: (message: FromIsolate) => void
  /** Lets it use the worker's store and bus. */
  readonly serveState: (port: StatePort) => { drop(): Promise<void> }
}

/** Starts a thread or a process. What handlers print goes to standard error: standard output may be the protocol's. */
export function startHost(kind: IsolationKind, options: HostOptions): Host {
  const host = kind === 'thread' ? startThread(options) : startProcess(options)
  const served = options.serveState(host.state)
  void host.ended.then(() => served.drop())
  host.tell({ kind: 'setup', setup: options.setup })
  return host
}

function startThread({ entry, setup, maxHeapMb, onMessage }: HostOptions): Host & { state: StatePort } {
  const worker = new Worker(entry, {
    name: `holdfast-${setup.tool}`,
    resourceLimits: { maxOldGenerationSizeMb: maxHeapMb },
    stdout: true,
    stderr: true,
  })
  for (const stream of [worker.stdout, worker.stderr])
    stream.on('data', (chunk: Uint8Array) => process.stderr.write(chunk))
  worker.on('message', onMessage)
  let cause: Error | undefined
  worker.on('error', (error: Error) => (cause = error))
  const ended = new Promise<string>((resolve) => {
    worker.once('exit', (code) => {
      const isFull = (cause as NodeJS.ErrnoException | undefined)?.code === 'ERR_WORKER_OUT_OF_MEMORY'
      if (isFull) resolve(`its heap has outgrown maxHeapMb (${maxHeapMb})`)
      else resolve(cause === undefined ? `it has called process.exit(${code})` : `of an error: ${describe(cause)}`)
    })
  })
  return {
    tell: (message) => worker.postMessage(message),
    kill: async () => void (await worker.terminate()),
    ended,
    state: {
      send: (message) => worker.postMessage(message),
      onMessage: (listener) => void worker.on('message', listener),
      onClose: (listener) => void worker.once('exit', listener),
    },
  }
}

/** How V8 ends a process whose heap is full. */
const FULL_HEAP = /heap out of memory/
const MOST_OUTPUT = 4_000

function startProcess({ entry, maxHeapMb, onMessage }: HostOptions): Host & { state: StatePort } {
  const child = fork(entry, {
    serialization: 'advanced',
    execArgv: [...process.execArgv, `--max-old-space-size=${maxHeapMb}`],
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  })
  let last = ''
  for (const stream of [child.stdout!, child.stderr!])
    stream.on('data', (chunk: Buffer) => {
      process.stderr.write(chunk)
      last = (last + chunk.toString()).slice(-MOST_OUTPUT)
    })
  child.on('message', (message) => onMessage(message as FromIsolate))
  let cause: Error | undefined
  child.on('error', (error) => (cause = error))
  const ended = new Promise<string>((resolve) => {
    // `close` comes after the last of its output, and also where it never began.
    child.once('close', (code, signal) => {
      if (FULL_HEAP.test(last)) resolve(`its heap has outgrown maxHeapMb (${maxHeapMb})`)
      else if (cause !== undefined) resolve(`of an error: ${describe(cause)}`)
      else resolve(signal === null ? `it has ended with the exit code ${code}` : `it was ended by ${signal}`)
    })
  })
  return {
    tell(message) {
      // One that has gone is told of by `ended`.
      if (child.connected) child.send(message, () => undefined)
    },
    async kill() {
      child.kill('SIGKILL')
      await ended
    },
    ended,
    state: {
      send(message) {
        if (child.connected) child.send(message as object, () => undefined)
      },
      onMessage: (listener) => void child.on('message', listener),
      onClose: (listener) => void child.once('close', listener),
    },
  }
}

const describe = (error: Error): string => error.stack ?? error.message
