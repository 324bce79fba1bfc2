import type { Client } from '../define/context.ts'
import { HoldfastError } from '../errors/holdfast-error.ts'
import { changeNotification, tellAll, type ChangeListener } from '../kernel/changes.ts'
import type { Connection, LegacySession } from '../kernel/exchange.ts'
import type { LegacyRevision } from '../kernel/protocol.ts'
import { notificationBody } from '../kernel/rpc.ts'
import type { Services } from '../kernel/services.ts'

/** The 2025 session of a connection that is its own session (stdio): it lives and ends with the connection. */
export class LocalSession implements LegacySession {
  readonly sid: string
  readonly revision: LegacyRevision
  readonly client: Client
  logLevel = 1
  readonly #services: Services
  readonly #connection: Connection
  readonly #startedMs: number
  readonly #listener: ChangeListener

  constructor(services: Services, connection: Connection, revision: LegacyRevision, client: Client) {
    this.#services = services
    this.#connection = connection
    this.#startedMs = services.clock.monotonic()
    this.sid = connection.scope
    this.revision = revision
    this.client = client
    this.#listener = {
      lists: services.catalog.listsOffered,
      uris: new Set(),
      onChange: (change) => {
        const { method, params } = changeNotification(change)
        connection.write(notificationBody(method, params))
      },
    }
  }

  /** Starts to send changes; resolves when they will be heard. */
  start(): Promise<void> {
    this.#connection.onDropped.add(this.#tellAll)
    return this.#services.changes.add(this.#listener)
  }
  async close(): Promise<void> {
    const { clock, telemetry, changes } = this.#services
    telemetry.sessionEnded({
      durationSeconds: (clock.monotonic() - this.#startedMs) / 1000,
      protocolVersion: this.revision,
      transport: this.#connection.transport,
    })
    this.#connection.onDropped.delete(this.#tellAll)
    await changes.remove(this.#listener)
  }
  readonly #tellAll = (): void => tellAll(this.#listener)

  async setLogLevel(level: number): Promise<void> {
    this.logLevel = level
  }
  async subscribe(uri: string): Promise<void> {
    const { changes, options } = this.#services
    const uris = new Set(this.#listener.uris).add(uri)
    if (uris.size > options.maxSubscriptions)
      throw new HoldfastError(
        'invalid_params',
        `A session may follow ${options.maxSubscriptions} resources; unsubscribe from one first.`,
      )
    await changes.follow(this.#listener, uris)
  }
  async unsubscribe(uri: string): Promise<void> {
    const uris = new Set(this.#listener.uris)
    uris.delete(uri)
    await this.#services.changes.follow(this.#listener, uris)
  }
}
