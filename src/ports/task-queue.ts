/**
 * Tells workers that there are tasks. A message is a doorbell: it wakes a worker, and names tasks as a hint; the store chooses.
 * So a message may come late, twice, never, out of order, or for a task that has ended, and nothing is lost.
 */
export interface TaskQueue {
  /**
   * Creates what the broker needs for these queues, or checks what is there.
   * @throws {HoldfastError} `backend_mismatch` that says what differs, and what it must be.
   */
  ensureTopology(queues: readonly string[]): Promise<void>
  /** Rings for tasks. Resolves when the broker has confirmed; no reply to a client waits for it. */
  ring(queue: string, taskIds: readonly string[]): Promise<void>
  /**
   * Hears the bells of some queues. `onRing` resolves when the claim has committed; then the message is acknowledged. A
   * message whose `onRing` rejects comes again, a bounded number of times.
   */
  listen(
    queues: readonly string[],
    onRing: (bell: { readonly queue: string; readonly taskIds: readonly string[] }) => Promise<void>,
    options: { readonly credits: number },
  ): Promise<QueueListener>
  /** Messages that wait, where the broker can say; for metrics. */
  depth(queue: string): Promise<number | undefined>
  close(): Promise<void>
}

/** One listening worker. */
export interface QueueListener {
  /** Takes no more messages: no slot is free. */
  pause(): void
  resume(): void
  /** Stops listening; what was taken and not acknowledged goes back. */
  close(): Promise<void>
}
