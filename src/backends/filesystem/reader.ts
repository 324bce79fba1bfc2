import { close, fstat, open, read } from 'node:fs'
import { promisify } from 'node:util'

const opened = promisify(open)
const closed = promisify(close)
const readFrom = promisify(read)
const stated = promisify(fstat)

/** Descriptors whose readers were dropped without a word. A `FileHandle` would end the process for it. */
const dropped = new FinalizationRegistry<number>((descriptor) => close(descriptor))

/** A file that is open for reading. Who drops it without closing it has it closed by the garbage collector, some day. */
export class FileReader {
  readonly #descriptor: number
  #isClosed = false

  private constructor(descriptor: number) {
    this.#descriptor = descriptor
    dropped.register(this, descriptor, this)
  }

  static async open(path: string): Promise<FileReader> {
    return new FileReader(await opened(path, 'r'))
  }

  async size(): Promise<number> {
    return (await stated(this.#descriptor)).size
  }

  /** At most `length` bytes from a place on; fewer at the end, or none. */
  async read(at: number, length: number): Promise<Buffer> {
    const block = Buffer.allocUnsafeSlow(length)
    const { bytesRead } = await readFrom(this.#descriptor, block, 0, length, at)
    return block.subarray(0, bytesRead)
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    dropped.unregister(this)
    await closed(this.#descriptor)
  }
}
