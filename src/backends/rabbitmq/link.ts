import type { ChannelModel, RecoveringChannelModel } from 'amqplib'
import { HoldfastError } from '../../errors/holdfast-error.ts'
import { backoffMs, within } from '../broker/wait.ts'
import type { RabbitmqBroker } from './url.ts'

/** The part of the client library that is used. */
export type Amqplib = Pick<typeof import('amqplib'), 'connect'>

/** What a link tells of its connection. */
export interface LinkEvents {
  onUp(model: ChannelModel): void
  onDown(error: Error): void
}

const HEARTBEAT_S = 10

/** A connection that comes back by itself. Its channels do not: they are made anew with each {@link LinkEvents.onUp}. */
export class Link {
  readonly #address: RabbitmqBroker
  readonly #recovering: Promise<RecoveringChannelModel>
  #model: ChannelModel | undefined
  #lastError: Error | undefined
  #isClosed = false
  #firstTry: Promise<void>

  constructor(library: Amqplib, address: RabbitmqBroker, name: string, events: LinkEvents) {
    this.#address = address
    let tried: () => void = () => undefined
    this.#firstTry = new Promise((resolve) => (tried = resolve))
    const { tls, host, port, vhost, username, password, connectTimeoutMs } = address
    this.#recovering = library.connect(
      {
        protocol: tls === undefined ? 'amqp' : 'amqps',
        hostname: host,
        port,
        vhost,
        username,
        password,
        heartbeat: HEARTBEAT_S,
      },
      {
        ...tls,
        timeout: connectTimeoutMs,
        noDelay: true,
        clientProperties: { connection_name: `holdfast ${name}` },
        recovery: { waitForConnect: false, calculateDelay: (attempt: number) => backoffMs(attempt) },
      },
    )
    const lost = (error: Error): void => {
      this.#model = undefined
      this.#lastError = error
      tried()
      if (!this.#isClosed) events.onDown(error)
    }
    void this.#recovering.then((recovering) => {
      recovering.on('connect', (model: ChannelModel) => {
        this.#model = model
        tried()
        if (!this.#isClosed) events.onUp(model)
      })
      recovering.on('connect-failed', lost)
      recovering.on('disconnect', lost)
      recovering.on('error', (error: Error) => (this.#lastError = error)) // told by `disconnect`, which follows
    })
  }

  /**
   * The connection as it stands. Waits for the first attempt alone: later a lost broker is told at once, so that nothing piles up.
   * @throws {HoldfastError} `backend_failed` where there is none.
   */
  async model(): Promise<ChannelModel> {
    const { connectTimeoutMs, shown } = this.#address
    if (this.#model === undefined && this.#lastError === undefined)
      await within(connectTimeoutMs, `The connection to ${shown}`, this.#firstTry)
    if (this.#model !== undefined) return this.#model
    throw new HoldfastError('backend_failed', `There is no connection to ${shown}: ${this.#lastError?.message}`, {
      cause: this.#lastError,
    })
  }

  /** Ends the connection, whatever state it is in. */
  async close(): Promise<void> {
    this.#isClosed = true
    const recovering = await this.#recovering
    // A broker that does not answer would hold up the handshake of the end.
    await within(this.#address.commandTimeoutMs, 'The end of the connection', recovering.close()).catch(
      () => undefined, // it is lost already, or the broker notices by its heartbeats
    )
  }
}
