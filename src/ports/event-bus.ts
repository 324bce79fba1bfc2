/**
 * Messages between nodes, delivered at most once to who listens now. Nothing may rest on a message arriving: a subscriber
 * is told by `onGap` whenever it may have missed some, and reads the truth again.
 */
export interface EventBus {
  /** Hands a message to every present subscriber of the channel, at most once each, in order for one publisher. */
  publish(channel: string, message: Uint8Array): Promise<void>
  /**
   * Listens on a channel until the returned function is called. Resolves when the subscription is in force.
   * `onGap` runs once at the start, and after any time in which messages may have been lost.
   */
  subscribe(channel: string, onMessage: (message: Uint8Array) => void, onGap: () => void): Promise<Unsubscribe>
  close(): Promise<void>
}

/** Ends a subscription. May be called twice. */
export type Unsubscribe = () => Promise<void>
