import type { QueueListener } from './task-queue.ts'

/**
 * Messages of somebody else's, out of one queue or topic. Unlike a {@link TaskQueue} these carry a meaning that nothing else
 * knows of: none may be acknowledged before what it asks for is committed.
 *
 * The queue or topic belongs to whoever sends: a source reads it as it is, and neither creates nor changes anything.
 */
export interface MessageSource {
  /**
   * Hands over messages, at most `credits` at once, until the listener is closed. A broker that is away, or a queue that does not
   * exist, is no error: both may come.
   *
   * - `onMessage` resolves with nothing: the message is acknowledged.
   * - It resolves with a reason: the message is none to be acted on. It is kept where dead letters go, and does not come again.
   * - It rejects: the message comes again, after a while. So does every message whose listener has died, or was closed, before
   *   it was acknowledged.
   *
   * While `onMessage` has not settled the message is held, however long that takes; the signal aborts when it is not this
   * listener's any more. Brokers may take a message away (a lost connection, partitions that are spread anew), so it may be handed
   * over twice, and to two listeners at once, but never to none.
   */
  listen(
    onMessage: (message: SourceMessage, signal: AbortSignal) => Promise<string | void>,
    options: { readonly credits: number },
  ): Promise<QueueListener>
  /** Closes its listeners, and the connections. */
  close(): Promise<void>
}

/** A message as it came. */
export interface SourceMessage {
  /** Equal each time that this message comes, and different for every other one of its source; `undefined` where it has none. */
  readonly id: string | undefined
  readonly body: Uint8Array
  readonly headers: Readonly<Record<string, string>>
}

/** What a source tells of its broker, for the log. */
export interface SourceEvents {
  /** It is read from, for the first time or again. */
  onUp(): void
  /** It can't be read from. Told once for each time. */
  onDown(error: Error): void
  /** A message was rejected, so it comes again. */
  onRefused(error: unknown): void
}
