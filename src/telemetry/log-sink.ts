import { createWriteStream, writeSync } from 'node:fs'
import type { Writable } from 'node:stream'

/** Characters gathered before they are written: a write for each line would cost more than the request it tells of. */
const BATCH_LENGTH = 65_536
/** Longest time that a line waits for its batch. */
const FLUSH_MS = 200
/** Bytes that may wait for a slow reader; lines beyond it are dropped, and counted. */
const MAX_BACKLOG_BYTES = 16 * 1024 * 1024
/** What a write to a pipe puts there whole, whoever else writes to it (POSIX, `PIPE_BUF`; the least that systems have is Linux's). */
const ATOMIC_BYTES = 4096
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
 * 3. A line stays whole, also where several processes write to one pipe (`--processes`): each then writes whole lines, as many
 *    as a pipe takes at once. In bigger writes, one line of a hundred was broken in two by another process's.
 * 4. What waits when the process ends, also by an uncaught error, is written out as far as the descriptor takes it at once.
 *
 * Pipes are written through `process.stdout`, which libuv makes non-blocking: a write to a full pipe from libuv's thread pool
 * (as `fs.write` and sonic-boom do) holds its thread, and then the exit of the process, until somebody reads. sonic-boom 4
 * was measured at 3.6 µs a line (it measures its whole batch for every line), this at 0.4 µs with the line's making.
 */
export class LogSink {
  readonly #fd: number
  readonly #onLost: (lines: number, reason: LossReason) => void
  readonly #stream: Writable
  /** A process with a channel to its parent most likely writes to where its parent and its siblings write. */
  readonly #isShared = process.send !== undefined
  #batch = ''
  #lines = 0
  #timer: NodeJS.Timeout | undefined
  /** Pieces that wait until the one before them is written. */
  readonly #queue: Buffer[] = []
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
    const lines = this.#lines
    const bytes = this.#take()
    if (lines === 0) return
    if (this.#isBroken) return this.#onLost(lines, 'failed')
    if (this.#backlogBytes > MAX_BACKLOG_BYTES) return this.#onLost(lines, 'slow')
    this.#backlogBytes += bytes.length
    if (!this.#isShared) return this.#put(bytes)
    const isIdle = this.#queue.length === 0
    this.#queue.push(...pieces(bytes))
    if (isIdle) this.#put(this.#queue[0]!)
  }

  #put(bytes: Buffer): void {
    this.#stream.write(bytes, (error) => {
      this.#backlogBytes -= bytes.length
      if (error !== null && error !== undefined) {
        this.#onLost(linesOf(bytes), 'failed')
        // Nobody will read again. Other errors (a full disk) may pass.
        this.#isBroken ||= (error as NodeJS.ErrnoException).code === 'EPIPE'
      }
      // One at a time where others write too: the stream would join those that wait to one bigger write.
      this.#queue.shift()
      if (this.#queue.length > 0) this.#put(this.#queue[0]!)
      else if (this.#backlogBytes === 0) this.#onIdle?.()
    })
  }

  #take(): Buffer {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const bytes = Buffer.from(this.#batch)
    this.#batch = ''
    this.#lines = 0
    return bytes
  }

  /** The event loop has ended: standard streams still take what they can at once, a stream on a file would not. */
  #flushAtExit(): void {
    const last = this.#take()
    if (this.#isBroken) return
    if (this.#fd <= 2) {
      for (const bytes of [...this.#queue.slice(1), last]) if (bytes.length > 0) this.#stream.write(bytes)
      return
    }
    try {
      writeSync(this.#fd, last)
    } catch {
      this.#onLost(linesOf(last), 'failed') // the process ends: there is nowhere left to say so
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

const NEWLINE = 0x0a

function linesOf(bytes: Buffer): number {
  let lines = 0
  for (const byte of bytes) if (byte === NEWLINE) lines++
  return lines
}

/** Whole lines, as many as fit into an atomic write; a longer line is a piece of its own. */
function* pieces(bytes: Buffer): Generator<Buffer> {
  for (let from = 0; from < bytes.length;) {
    let end = from + ATOMIC_BYTES
    if (end >= bytes.length) end = bytes.length
    else end = bytes.lastIndexOf(NEWLINE, end - 1) + 1
    if (end <= from) end = bytes.indexOf(NEWLINE, from) + 1
    yield bytes.subarray(from, end)
    from = end
  }
}
