import type { ChannelModel } from 'amqplib'
import type { QueueListener } from '../../ports/task-queue.ts'
import type { OnPayload } from '../broker/deliveries.ts'
import type { Presence } from '../broker/events.ts'
import { Link, type Amqplib } from './link.ts'
import { RabbitmqListener, type Consumption } from './listener.ts'
import { Publisher } from './publisher.ts'
import type { RabbitmqBroker } from './url.ts'

// Publishing and reading have a connection each: a broker short of memory stops reading from those that publish, and
// acknowledgements must get through.

/** A connection to publish by. */
export class Publishing {
  readonly #link: Link
  #publisher: Publisher | undefined

  /** @param events told when the connection stands, and when it is lost. */
  constructor(
    library: Amqplib,
    address: RabbitmqBroker,
    name: string,
    events: { onUp(): void; onDown(error: Error): void },
  ) {
    this.#link = new Link(library, address, name, {
      onUp: (model) => {
        this.#publisher = new Publisher(model)
        events.onUp()
      },
      onDown: (error) => {
        this.#publisher = undefined
        events.onDown(error)
      },
    })
  }

  /** @throws {HoldfastError} `backend_failed` where there is no connection. */
  model(): Promise<ChannelModel> {
    return this.#link.model()
  }

  /** @throws {HoldfastError} `backend_failed` where there is no connection. */
  async publisher(): Promise<Publisher> {
    const model = await this.#link.model()
    // The broker closes a channel on an error, and the connection stays.
    if (this.#publisher?.isOpen !== true) this.#publisher = new Publisher(model)
    return this.#publisher
  }

  close(): Promise<void> {
    return this.#link.close()
  }
}

/** Listeners, and the connection that they read by: it is opened by the first of them. */
export class Reading<Payload> {
  readonly #library: Amqplib
  readonly #address: RabbitmqBroker
  readonly #name: string
  readonly #presence: Presence
  readonly #listeners = new Set<RabbitmqListener<Payload>>()
  #link: Link | undefined
  #model: ChannelModel | undefined

  /** @param name of the connection, and of its part in the presence. */
  constructor(library: Amqplib, address: RabbitmqBroker, name: string, presence: Presence) {
    this.#library = library
    this.#address = address
    this.#name = name
    this.#presence = presence
  }

  async listen(what: Consumption<Payload>, onPayload: OnPayload<Payload>, credits: number): Promise<QueueListener> {
    const listener = new RabbitmqListener(what, onPayload, credits, {
      onClose: () => this.#listeners.delete(listener),
      onReady: () => this.#presence.up(this.#name),
      onRefused: this.#presence.refused,
      onTrouble: (error) => this.#presence.down(error, this.#name),
    })
    this.#listeners.add(listener)
    if (this.#model !== undefined) await listener.attach(this.#model)
    this.#link ??= new Link(this.#library, this.#address, this.#name, {
      onUp: (model) => {
        this.#model = model
        for (const one of this.#listeners) void one.attach(model)
      },
      onDown: (error) => {
        this.#model = undefined
        for (const one of this.#listeners) one.detach()
        this.#presence.down(error, this.#name)
      },
    })
    return listener
  }

  /** Ends the listeners. The connection stays until {@link close}, since they acknowledge by it what they have taken. */
  async closeListeners(): Promise<void> {
    await Promise.all(Array.from(this.#listeners, (listener) => listener.close()))
  }

  async close(): Promise<void> {
    await this.#link?.close()
  }
}
