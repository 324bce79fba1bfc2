import type { Notify } from '../define/context.ts'
import type { EventBus, Unsubscribe } from '../ports/event-bus.ts'
import { LISTS_CHANNEL, resourceChannel } from './keys.ts'

/** Something that clients may follow. */
export type Change = 'tools' | 'prompts' | 'resources' | { readonly resource: string }

/** Who follows what. Called in order; must not throw. */
export interface ChangeListener {
  readonly lists: ReadonlySet<'tools' | 'prompts' | 'resources'>
  readonly uris: ReadonlySet<string>
  onChange(change: Change): void
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
  readonly #listeners = new Set<ChangeListener>()
  readonly #channels = new Map<string, { followers: number; ready: Promise<Unsubscribe> }>()
  readonly notify: Notify

  constructor(bus: EventBus, onError: (error: unknown) => void) {
    this.#bus = bus
    this.#onError = onError
    const publish = (channel: string, text: string): void => {
      bus.publish(channel, Buffer.from(text)).catch(onError)
    }
    this.notify = Object.freeze({
      toolsChanged: () => publish(LISTS_CHANNEL, 'tools'),
      promptsChanged: () => publish(LISTS_CHANNEL, 'prompts'),
      resourcesChanged: () => publish(LISTS_CHANNEL, 'resources'),
      resourceUpdated: (uri: string) => publish(resourceChannel(uri), uri),
    })
  }

  /** Resolves when the subscriptions are in force. A listener's `uris` may be changed by {@link refollow}. */
  async add(listener: ChangeListener): Promise<void> {
    this.#listeners.add(listener)
    await this.#follow(listener, 1)
  }

  async remove(listener: ChangeListener): Promise<void> {
    if (this.#listeners.delete(listener)) await this.#follow(listener, -1)
  }

  /** Replaces a listener by one that follows other things. */
  async refollow(old: ChangeListener, next: ChangeListener): Promise<void> {
    await this.add(next)
    await this.remove(old)
  }

  async #follow(listener: ChangeListener, by: 1 | -1): Promise<void> {
    const channels = [...listener.uris].map(resourceChannel)
    if (listener.lists.size > 0) channels.push(LISTS_CHANNEL)
    await Promise.all(channels.map((channel) => this.#count(channel, by)))
  }

  async #count(channel: string, by: 1 | -1): Promise<void> {
    const known = this.#channels.get(channel)
    if (known === undefined) {
      const entry = { followers: 1, ready: this.#subscribe(channel) }
      this.#channels.set(channel, entry)
      entry.ready.catch(() => this.#channels.delete(channel))
      await entry.ready
      return
    }
    known.followers += by
    const unsubscribe = await known.ready
    if (known.followers === 0 && this.#channels.get(channel) === known) {
      this.#channels.delete(channel)
      await unsubscribe()
    }
  }

  #subscribe(channel: string): Promise<Unsubscribe> {
    let isFirst = true
    const tell = (change: Change): void => {
      for (const listener of this.#listeners) {
        const concerns = typeof change === 'string' ? listener.lists.has(change) : listener.uris.has(change.resource)
        if (concerns) listener.onChange(change)
      }
    }
    const isLists = channel === LISTS_CHANNEL
    return this.#bus.subscribe(
      channel,
      (message) => {
        const text = Buffer.from(message).toString()
        tell(isLists ? (text as Change) : { resource: text })
      },
      () => {
        // The first gap is the time before the subscription, in which nothing was promised.
        if (isFirst) isFirst = false
        else if (isLists) for (const list of ['tools', 'prompts', 'resources'] as const) tell(list)
        else tell({ resource: channel.slice('resource:'.length) })
      },
    )
  }

  /** Ends every subscription. */
  async close(): Promise<void> {
    this.#listeners.clear()
    const entries = [...this.#channels.values()]
    this.#channels.clear()
    const results = await Promise.allSettled(entries.map(async ({ ready }) => (await ready)()))
    for (const result of results) if (result.status === 'rejected') this.#onError(result.reason)
  }
}

/** The notification that tells a client of a change. `meta` goes into `params._meta`. */
export function changeNotification(change: Change, meta?: object): { method: string; params?: object } {
  const extra = meta === undefined ? undefined : { _meta: meta }
  if (typeof change === 'string')
    return { method: `notifications/${change}/list_changed`, ...(extra === undefined ? {} : { params: extra }) }
  return { method: 'notifications/resources/updated', params: { uri: change.resource, ...extra } }
}
