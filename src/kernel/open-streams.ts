/** A stream that follows changes, of either era. */
export interface OpenStream {
  /** Ends the stream in an orderly way: the server stops. */
  shutdown(): void
}

/** The streams that follow changes on this node. One that comes after the shutdown is ended as it is added. */
export class OpenStreams {
  readonly #streams = new Set<OpenStream>()
  #isShutDown = false

  get size(): number {
    return this.#streams.size
  }
  add(stream: OpenStream): void {
    this.#streams.add(stream)
    if (this.#isShutDown) stream.shutdown()
  }
  delete(stream: OpenStream): void {
    this.#streams.delete(stream)
  }
  shutdown(): void {
    this.#isShutDown = true
    for (const stream of this.#streams) stream.shutdown()
  }
}
