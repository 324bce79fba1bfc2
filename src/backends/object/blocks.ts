/** The body has more bytes than it may have. */
export class BodyTooLarge extends Error {}

/** What a body is read with. */
export interface BlockOptions {
  readonly blockBytes: number
  readonly maxBytes: number
  readonly signal?: AbortSignal | undefined
}

/**
 * Reads a body in blocks of one length; the last one may be shorter, and of an empty body there is none. All are the same
 * memory: be done with a block before you ask for the next. So a writer holds one block, however its body comes in pieces.
 * @throws {BodyTooLarge}; the signal's reason; and what the body throws.
 */
export async function* inBlocks(
  body: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  { blockBytes, maxBytes, signal }: BlockOptions,
): AsyncGenerator<Buffer, void, undefined> {
  let block: Buffer | undefined
  let filled = 0
  let total = 0
  for await (const piece of abortable(body, signal)) {
    checkBytes(piece)
    total += piece.length
    if (total > maxBytes) throw new BodyTooLarge()
    // Memory that nobody writes to costs nothing, so a small body may have a big block.
    block ??= Buffer.allocUnsafeSlow(blockBytes)
    for (let from = 0; from < piece.length;) {
      const length = Math.min(piece.length - from, blockBytes - filled)
      block.set(piece.subarray(from, from + length), filled)
      from += length
      filled += length
      if (filled < blockBytes) continue
      yield block
      filled = 0
    }
  }
  if (filled > 0) yield block!.subarray(0, filled)
}

/** The body, until the signal fires: one that never gives its next piece must not hold its reader. */
export async function* abortable<T>(
  body: AsyncIterable<T> | Iterable<T>,
  signal: AbortSignal | undefined,
): AsyncGenerator<T, void, undefined> {
  if (signal === undefined) {
    yield* body
    return
  }
  signal.throwIfAborted()
  const iterator = Symbol.asyncIterator in body ? body[Symbol.asyncIterator]() : body[Symbol.iterator]()
  let isOver = false
  const { promise: aborted, reject } = Promise.withResolvers<never>()
  aborted.catch(() => undefined) // heard by the race alone
  const onAbort = (): void => reject(signal.reason as Error)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    for (;;) {
      const next = await Promise.race([iterator.next(), aborted])
      isOver = next.done === true
      if (next.done) return
      yield next.value
    }
  } catch (error) {
    isOver = !signal.aborted
    throw error
  } finally {
    signal.removeEventListener('abort', onAbort)
    // Not awaited: it may wait for the piece that does not come.
    if (!isOver) Promise.resolve(iterator.return?.()).catch(() => undefined)
  }
}

/** Bodies of untyped code may hold anything. @throws {TypeError} */
export function checkBytes(piece: unknown): void {
  if (!(piece instanceof Uint8Array)) throw new TypeError(`A body must consist of bytes; it has a ${typeof piece}.`)
}
