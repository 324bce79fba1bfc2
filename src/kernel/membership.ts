import { keepSubscribed } from './keep-subscribed.ts'
import { isObject } from './protocol.ts'
import { MEMBERS_CHANNEL } from './keys.ts'
import type { Clock } from '../ports/clock.ts'
import type { EventBus, Unsubscribe } from '../ports/event-bus.ts'
import type { Telemetry } from '../ports/telemetry.ts'

/** A process that has announced itself. */
export interface Member {
  readonly id: string
  /** `node` serves requests. */
  readonly role: 'node' | 'worker'
  /** Version of the server that it runs. */
  readonly version: string
}

type Saying = 'beats' | 'answers' | 'leaves'

/** What a {@link Membership} works with. */
export interface MembershipParts {
  readonly bus: EventBus
  readonly clock: Clock
  readonly self: Member
  readonly telemetry: Telemetry
}

const HEARTBEAT_MS = 5000
/** Within this time a newcomer is answered; the answers to several are one. */
const ANSWER_MS = 500
/** Own heartbeats heard back since another member's last one, after which it counts as gone. */
const MISSED = 3
/** Members beyond these are not counted: a bus that strangers write to must not fill the memory. */
const MAX_MEMBERS = 1000

/**
 * Who else is there: every member says so on the bus, every five seconds, and when it leaves.
 *
 * Invariant: silence of the bus is no news of anybody. A member counts as gone when this one heard itself three times and
 * not the other: so with the bus gone, the last known number stays.
 */
export class Membership {
  readonly #parts: MembershipParts
  readonly #others = new Map<string, { member: Member; missed: number }>()
  readonly #closed = new AbortController()
  #unsubscribe: Unsubscribe | undefined
  #beating: Promise<void> | undefined
  #isAnswering = false

  constructor(parts: MembershipParts) {
    this.#parts = parts
  }

  /** Everybody that is known, this one included. */
  get all(): readonly Member[] {
    return [this.#parts.self, ...[...this.#others.values()].map(({ member }) => member)]
  }

  /** How many of a role there are. */
  count(role: Member['role']): number {
    let count = this.#parts.self.role === role ? 1 : 0
    for (const { member } of this.#others.values()) if (member.role === role) count++
    return count
  }

  /** Listens, and says that it is there. */
  async start(): Promise<void> {
    const { bus, clock, telemetry } = this.#parts
    // Who was missed says so again.
    this.#unsubscribe = await keepSubscribed(
      bus,
      MEMBERS_CHANNEL,
      (bytes) => this.#hear(bytes),
      clock,
      () => telemetry.count('degraded', 'membership'),
    )
    this.#beating = this.#beat()
  }

  async close(): Promise<void> {
    if (this.#closed.signal.aborted) return
    this.#closed.abort()
    await this.#beating
    await this.#say('leaves')
    await this.#unsubscribe?.().catch(() => this.#parts.telemetry.count('degraded', 'membership'))
  }

  /** Until {@link close}, whose abort also ends the wait between two heartbeats: nothing has failed then. */
  async #beat(): Promise<void> {
    const { signal } = this.#closed
    while (!signal.aborted) {
      await this.#say('beats')
      // Nodes that started together must not go on speaking together.
      await this.#parts.clock.sleep(HEARTBEAT_MS * (0.8 + 0.4 * Math.random()), signal).catch(() => undefined)
    }
  }

  /** Answers newcomers after a short wait, which {@link close} ends early. */
  async #answer(): Promise<void> {
    if (this.#isAnswering) return
    this.#isAnswering = true
    const { signal } = this.#closed
    await this.#parts.clock.sleep(ANSWER_MS * Math.random(), signal).catch(() => undefined)
    this.#isAnswering = false
    if (!signal.aborted) await this.#say('answers')
  }

  async #say(what: Saying): Promise<void> {
    const { bus, self, telemetry } = this.#parts
    try {
      await bus.publish(MEMBERS_CHANNEL, Buffer.from(JSON.stringify({ ...self, what })))
    } catch {
      telemetry.count('degraded', 'membership')
    }
  }

  #hear(bytes: Uint8Array): void {
    const said = parse(bytes)
    if (said === undefined) return
    const { member, what } = said
    if (member.id === this.#parts.self.id) return what === 'beats' ? this.#countMissed() : undefined
    if (what === 'leaves') return void this.#others.delete(member.id)
    const isNew = !this.#others.has(member.id)
    if (isNew && this.#others.size >= MAX_MEMBERS) return
    this.#others.set(member.id, { member, missed: 0 })
    // A newcomer need not wait for everybody's next heartbeat.
    if (isNew) void this.#answer()
  }

  #countMissed(): void {
    for (const [id, other] of this.#others) if (++other.missed > MISSED) this.#others.delete(id)
  }
}

/** Of another release a message may say more, or other things; what can't be read is nobody. */
function parse(bytes: Uint8Array): { member: Member; what: unknown } | undefined {
  let said: unknown
  try {
    said = JSON.parse(Buffer.from(bytes).toString())
  } catch {
    return undefined
  }
  if (!isObject(said)) return undefined
  const { id, role, version, what } = said
  if (typeof id !== 'string' || (role !== 'node' && role !== 'worker') || typeof version !== 'string') return undefined
  return { member: { id, role, version }, what }
}
