import type { Notify } from '../define/context.ts'
import type { EventBus, Unsubscribe } from '../ports/event-bus.ts'
import { LISTS_CHANNEL, resourceChannel } from './keys.ts'

/** A list whose changes clients may follow. */
export type ListName = 'tools' | 'prompts' | 'resources'
/** All of them. */
export const LIST_NAMES: readonly ListName[] = ['tools', 'prompts', 'resources']
/** Something that clients may follow. */
export type Change = ListName | { readonly resource: string }

/** Who follows what. Called in order; must not throw. */
export interface ChangeListener {
  readonly lists: ReadonlySet<ListName>
  /** Changed by {@link ChangeHub.follow} alone. */
  uris: ReadonlySet<string>
  onChange(change: Change): void
}

/** A channel of the bus that somebody here follows. */
interface Followed {
  readonly listeners: Set<ChangeListener>
  readonly ready: Promise<Unsubscribe>
}

/**
 * Carries changes from `notify` on any node to the streams of this one. One subscription of the bus for the lists and one
 * for each followed URI, however many streams follow it.
 *
 * After a gap of the bus every listener is told that all it follows has changed: refetching is cheap, silence is not.
 */
export class ChangeHub {
  readonly #bus: EventBus
  readonly #onError: (error: unknown) => void
  readonly #channels = new Map<string, Followed>()
  readonly notify: Notify

  /** @param beforeUpdate done before anybody is told that a resource was updated. Default: nothing. */
  constructor(bus: EventBus, onError: (error: unknown) => void, beforeUpdate?: (uri: string) => Promise<void>) {
    this.#bus = bus
    this.#onError = onError
    const publish = (channel: string, text: string): void => {
      // What could not be sent is a gap, which the bus announces when it is back.
      bus.publish(channel, Buffer.from(text)).catch(onError)
    }
    this.notify = Object.freeze({
      toolsChanged: () => publish(LISTS_CHANNEL, 'tools'),
      promptsChanged: () => publish(LISTS_CHANNEL, 'prompts'),
      resourcesChanged: () => publish(LISTS_CHANNEL, 'resources'),
      resourceUpdated(uri: string) {
        const tell = (): void => publish(resourceChannel(uri), uri)
        if (beforeUpdate === undefined) tell()
        else void beforeUpdate(uri).catch(onError).then(tell)
      },
    })
  }

  /** Resolves when the subscriptions are in force. */
  async add(listener: ChangeListener): Promise<void> {
    await this.#join(listener, channelsOf(listener))
  }

  async remove(listener: ChangeListener): Promise<void> {
    await this.#leave(listener, channelsOf(listener))
  }

  /**
   * Has a listener follow other resources; resolves when that is in force. What it followed before and after, it hears of
   * once, meanwhile too.
   */
  async follow(listener: ChangeListener, uris: ReadonlySet<string>): Promise<void> {
    const before = listener.uris
    const added = [...uris].filter((uri) => !before.has(uri))
    const dropped = [...before].filter((uri) => !uris.has(uri))
    listener.uris = uris
    await this.#leave(listener, dropped.map(resourceChannel))
    try {
      await this.#join(listener, added.map(resourceChannel))
    } catch (error) {
      listener.uris = new Set([...listener.uris].filter((uri) => !added.includes(uri)))
      throw error
    }
  }

  /** All or none: where one channel can't be subscribed to, the others are left again. */
  async #join(listener: ChangeListener, channels: readonly string[]): Promise<void> {
    const followed = channels.map((channel) => {
      const known = this.#channels.get(channel) ?? this.#open(channel)
      known.listeners.add(listener)
      return known.ready
    })
    try {
      await Promise.all(followed)
    } catch (error) {
      await this.#leave(listener, channels)
      throw error
    }
  }

  async #leave(listener: ChangeListener, channels: readonly string[]): Promise<void> {
    await Promise.all(
      channels.map(async (channel) => {
        const known = this.#channels.get(channel)
        if (known === undefined || !known.listeners.delete(listener) || known.listeners.size > 0) return
        this.#channels.delete(channel)
        await known.ready.then(
          (unsubscribe) => unsubscribe(),
          () => undefined, // never subscribed: who waited for it was told
        )
      }),
    )
  }

  #open(channel: string): Followed {
    const listeners = new Set<ChangeListener>()
    const followed = { listeners, ready: this.#subscribe(channel, listeners) }
    this.#channels.set(channel, followed)
    followed.ready.catch(() => {
      if (this.#channels.get(channel) === followed) this.#channels.delete(channel)
    })
    return followed
  }

  #subscribe(channel: string, listeners: ReadonlySet<ChangeListener>): Promise<Unsubscribe> {
    let isFirst = true
    const isLists = channel === LISTS_CHANNEL
    const tell = (change: Change): void => {
      for (const listener of listeners)
        if (typeof change !== 'string' || listener.lists.has(change)) listener.onChange(change)
    }
    return this.#bus.subscribe(
      channel,
      (message) => {
        const text = Buffer.from(message).toString()
        tell(isLists ? (text as Change) : { resource: text })
      },
      () => {
        // The first gap is the time before the subscription, in which nothing was promised.
        if (isFirst) isFirst = false
        else if (isLists) for (const list of LIST_NAMES) tell(list)
        else tell({ resource: channel.slice(resourceChannel('').length) })
      },
    )
  }

  /** Ends every subscription. */
  async close(): Promise<void> {
    const all = [...this.#channels.values()]
    this.#channels.clear()
    for (const { listeners } of all) listeners.clear()
    const results = await Promise.allSettled(all.map(async ({ ready }) => (await ready)()))
    for (const result of results) if (result.status === 'rejected') this.#onError(result.reason)
  }
}

function channelsOf({ lists, uris }: ChangeListener): string[] {
  const channels = Array.from(uris, resourceChannel)
  if (lists.size > 0) channels.push(LISTS_CHANNEL)
  return channels
}

/** Tells a listener that all it follows may have changed: it may not have heard of some change. */
export function tellAll(listener: ChangeListener): void {
  for (const list of listener.lists) listener.onChange(list)
  for (const resource of listener.uris) listener.onChange({ resource })
}

/** The notification that tells a client of a change. `meta` goes into `params._meta`. */
export function changeNotification(change: Change, meta?: object): { method: string; params?: object } {
  const extra = meta === undefined ? undefined : { _meta: meta }
  if (typeof change === 'string')
    return { method: `notifications/${change}/list_changed`, ...(extra === undefined ? {} : { params: extra }) }
  return { method: 'notifications/resources/updated', params: { uri: change.resource, ...extra } }
}
