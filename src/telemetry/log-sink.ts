import { createWriteStream, writeSync } from 'node:fs'
import type { Writable } from 'node:stream'

/** Characters gathered before they are written: a write for each line would cost more than the request it tells of. */
const BATCH_LENGTH = 65_536
/** Longest time that a line waits for its batch. */
const FLUSH_MS = 200
/** Bytes that may wait for a slow reader; lines beyond it are dropped, and counted. */
const MAX_BACKLOG_BYTES = 16 * 1024 * 1024
/** How long {@link LogSink.close} waits for a slow reader. */
const CLOSE_MS = 1000

/** Why lines were lost: the reader was too slow (`slow`), or the descriptor could not be written to (`failed`). */
export type LossReason = 'slow' | 'failed'

const open = new Set<LogSink>()
let watchesExit = false

/** Errors reach the sink through the callback of each write; without a listener they would end the process. */
const guarded = new WeakSet<Writable>()
function guard(stream: Writable): Writable {
  if (!guarded.has(stream)) {
    guarded.add(stream)
    stream.on('error', () => undefined)
  }
  return stream
}

function streamOf(fd: number): Writable {
  if (fd === 1) return guard(process.stdout)
  if (fd === 2) return guard(process.stderr)
  return guard(createWriteStream('', { fd, autoClose: false }))
}

/**
 * Writes log lines to a descriptor, in batches.
 *
 * 1. A request never waits for the log: nothing here throws, and where the reader is slow or gone, lines are dropped and
 *    counted. A pipe that nobody reads blocks neither the event loop nor the end of the process.
 * 2. What waits is bounded.
 * 3. What waits when the process ends, also by an uncaught error, is written out as far as the descriptor takes it at once.
 *
 * Pipes are written through `process.stdout`, which libuv makes non-blocking: a write to a full pipe from libuv's thread pool
 * (as `fs.write` and sonic-boom do) holds its thread, and then the exit of the process, until somebody reads. sonic-boom 4
 * was measured at 3.6 µs a line (it measures its whole batch for every line), this at 0.4 µs with the line's making.
 */
export class LogSink {
  readonly #fd: number
  readonly #onLost: (lines: number, reason: LossReason) => void
  readonly #stream: Writable
  #batch = ''
  #lines = 0
  #timer: NodeJS.Timeout | undefined
  #backlogBytes = 0
  #isBroken = false
  #onIdle: (() => void) | undefined

  /** @param fd 1 is stdout, 2 is stderr; a `fd` of the caller's is not closed. */
  constructor(fd: number, onLost: (lines: number, reason: LossReason) => void) {
    this.#fd = fd
    this.#stream = streamOf(fd)
    this.#onLost = onLost
    open.add(this)
    if (watchesExit) return
    watchesExit = true
    process.on('exit', () => {
      for (const sink of open) sink.#flushAtExit()
    })
  }

  /** Takes a line, with its line break. */
  write(line: string): void {
    this.#batch += line
    this.#lines++
    if (this.#batch.length >= BATCH_LENGTH) this.flush()
    else this.#timer ??= setTimeout(this.flush, FLUSH_MS).unref()
  }

  /** Hands the batch to the descriptor. */
  readonly flush = (): void => {
    const taken = this.#take()
    if (taken === undefined) return
    const { bytes, lines } = taken
    if (this.#isBroken) return this.#onLost(lines, 'failed')
    if (this.#backlogBytes > MAX_BACKLOG_BYTES) return this.#onLost(lines, 'slow')
    this.#backlogBytes += bytes.length
    this.#stream.write(bytes, (error) => {
      this.#backlogBytes -= bytes.length
      if (error !== null && error !== undefined) {
        this.#onLost(lines, 'failed')
        // Nobody will read again. Other errors (a full disk) may pass.
        this.#isBroken ||= (error as NodeJS.ErrnoException).code === 'EPIPE'
      }
      if (this.#backlogBytes === 0) this.#onIdle?.()
    })
  }

  #take(): { bytes: Buffer; lines: number } | undefined {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#lines === 0) return undefined
    const taken = { bytes: Buffer.from(this.#batch), lines: this.#lines }
    this.#batch = ''
    this.#lines = 0
    return taken
  }

  /** The event loop has ended: standard streams still take what they can at once, a stream on a file would not. */
  #flushAtExit(): void {
    if (this.#fd <= 2) return this.flush()
    const taken = this.#take()
    if (taken === undefined || this.#isBroken) return
    try {
      writeSync(this.#fd, taken.bytes)
    } catch {
      this.#onLost(taken.lines, 'failed') // the process ends: there is nowhere left to say so
    }
  }

  /** Writes out what waits; resolves when it is written, or after a second. Lines that come later are still taken. */
  async close(): Promise<void> {
    this.flush()
    if (this.#backlogBytes > 0) {
      let timer: NodeJS.Timeout | undefined
      await new Promise<void>((resolve) => {
        this.#onIdle = resolve
        timer = setTimeout(resolve, CLOSE_MS)
      })
      clearTimeout(timer)
    }
    open.delete(this)
  }
}
