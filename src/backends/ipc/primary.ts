import type { EventBus, Unsubscribe } from '../../ports/event-bus.ts'
import type { StateStore } from '../../ports/state-store.ts'
import { IpcChannel, type IpcPort } from './channel.ts'

/** The primary's end for one worker process. */
export interface ServedPeer {
  readonly channel: IpcChannel
  /** Gives up the peer's subscriptions; call it when the process has ended. */
  drop(): Promise<void>
}

/**
 * Lets another process use this one's store and bus.
 * @param more operations beside those of the store and the bus.
 */
export function serveState(
  port: IpcPort,
  state: StateStore,
  bus: EventBus,
  more: Readonly<Record<string, (...args: never[]) => Promise<unknown>>> = {},
): ServedPeer {
  const subscriptions = new Map<string, Promise<Unsubscribe>>()
  const channel = new IpcChannel(port, {
    getMany: (...args: Parameters<StateStore['getMany']>) => state.getMany(...args),
    set: (...args: Parameters<StateStore['set']>) => state.set(...args),
    compareAndSet: (...args: Parameters<StateStore['compareAndSet']>) => state.compareAndSet(...args),
    delete: (...args: Parameters<StateStore['delete']>) => state.delete(...args),
    append: (...args: Parameters<StateStore['append']>) => state.append(...args),
    readAfter: (...args: Parameters<StateStore['readAfter']>) => state.readAfter(...args),
    takeTokens: (...args: Parameters<StateStore['takeTokens']>) => state.takeTokens(...args),
    acquire: (...args: Parameters<StateStore['acquire']>) => state.acquire(...args),
    release: (...args: Parameters<StateStore['release']>) => state.release(...args),
    extend: (...args: Parameters<StateStore['extend']>) => state.extend(...args),
    publish: (...args: Parameters<EventBus['publish']>) => bus.publish(...args),
    async subscribe(name: string) {
      if (subscriptions.has(name)) return
      // A message that the peer does not take is lost, as the bus allows; that the peer has gone shows elsewhere.
      const deliver = (message: Uint8Array): void => void channel.call('message', name, message).catch(() => undefined)
      const ready = bus.subscribe(name, deliver, () => undefined)
      subscriptions.set(name, ready)
      await ready
    },
    async unsubscribe(name: string) {
      const ready = subscriptions.get(name)
      subscriptions.delete(name)
      await (
        await ready
      )?.()
    },
    ...more,
  })
  return {
    channel,
    async drop() {
      channel.close()
      const all = [...subscriptions.values()]
      subscriptions.clear()
      await Promise.all(all.map(async (ready) => (await ready)()))
    },
  }
}
