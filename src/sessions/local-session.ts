import type { Client } from '../define/context.ts'
import { HoldfastError } from '../errors/holdfast-error.ts'
import { changeNotification, type ChangeListener } from '../kernel/changes.ts'
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
  #listener: ChangeListener

  constructor(services: Services, connection: Connection, revision: LegacyRevision, client: Client) {
    this.#services = services
    this.#connection = connection
    this.#startedMs = services.clock.monotonic()
    this.sid = connection.scope
    this.revision = revision
    this.client = client
    this.#listener = this.#listen(new Set())
  }

  /** Starts to send changes; resolves when they will be heard. */
  start(): Promise<void> {
    return this.#services.changes.add(this.#listener)
  }
  async close(): Promise<void> {
    const { clock, telemetry, changes } = this.#services
    telemetry.sessionEnded({
      durationSeconds: (clock.monotonic() - this.#startedMs) / 1000,
      protocolVersion: this.revision,
      transport: this.#connection.transport,
    })
    await changes.remove(this.#listener)
  }

  #listen(uris: ReadonlySet<string>): ChangeListener {
    return {
      lists: new Set(['tools', 'prompts', 'resources'] as const),
      uris,
      onChange: (change) => {
        const { method, params } = changeNotification(change)
        this.#connection.write(notificationBody(method, params))
      },
    }
  }
  async setLogLevel(level: number): Promise<void> {
    this.logLevel = level
  }
  async subscribe(uri: string): Promise<void> {
    const uris = new Set(this.#listener.uris).add(uri)
    const { maxSubscriptions } = this.#services.options
    if (uris.size > maxSubscriptions)
      throw new HoldfastError(
        'invalid_params',
        `A session may follow ${maxSubscriptions} resources; unsubscribe from one first.`,
      )
    await this.#follow(uris)
  }
  async unsubscribe(uri: string): Promise<void> {
    const uris = new Set(this.#listener.uris)
    uris.delete(uri)
    await this.#follow(uris)
  }
  #follow(uris: ReadonlySet<string>): Promise<void> {
    const old = this.#listener
    this.#listener = this.#listen(uris)
    return this.#services.changes.refollow(old, this.#listener)
  }
}
