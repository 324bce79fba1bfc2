import type { Clock } from '../ports/clock.ts'
import type { EventBus, Unsubscribe } from '../ports/event-bus.ts'

const RETRY_MS = 1000

/**
 * Subscribes for as long as the node lives. A bus that can't be reached yet is asked again, about once a second: a node may
 * start while it is away.
 *
 * @param onFailure told of the first failure.
 * @param onGap told whenever messages may have been lost. Default: nobody minds.
 * @returns resolves after the first attempt, to a function that ends the subscription or the attempts.
 */
export async function keepSubscribed(
  bus: EventBus,
  channel: string,
  onMessage: (message: Uint8Array) => void,
  clock: Clock,
  onFailure: (error: unknown) => void,
  onGap: () => void = () => undefined,
): Promise<Unsubscribe> {
  const ended = new AbortController()
  const subscribe = (): Promise<Unsubscribe> => bus.subscribe(channel, onMessage, onGap)
  const tryAgain = async (): Promise<Unsubscribe | undefined> => {
    for (;;) {
      try {
        await clock.sleep(RETRY_MS * (0.5 + Math.random()), ended.signal)
      } catch {
        return undefined
      }
      try {
        return await subscribe()
      } catch {
        // told once, by the first attempt; the bus tells of its own coming and going
      }
    }
  }
  let pending: Promise<Unsubscribe | undefined>
  try {
    pending = Promise.resolve(await subscribe())
  } catch (error) {
    onFailure(error)
    pending = tryAgain()
  }
  return async () => {
    ended.abort()
    const unsubscribe = await pending
    await unsubscribe?.()
  }
}
