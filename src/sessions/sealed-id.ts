import { randomBytes } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import type { KeyRing } from '../kernel/key-ring.ts'
import { isObject, LEGACY, type JsonObject, type LegacyRevision } from '../kernel/protocol.ts'

/** What a 2025 session is made of; all of it travels in the session id. */
export interface SessionFacts {
  readonly sid: string
  readonly revision: LegacyRevision
  readonly capabilities: JsonObject
  readonly clientName: string
  readonly clientVersion: string
  /** Hash of issuer, subject and tenant. */
  readonly owner: string
  readonly issuedAtMs: number
}

const PURPOSE = 'session'
/** Client capabilities that a session remembers, a bit each; what stands here is all that a server may ask for. */
const CAPABILITY_BITS: readonly (readonly [string, ...string[]])[] = [
  ['elicitation', 'form'],
  ['elicitation', 'url'],
  ['sampling'],
  ['sampling', 'tools'],
  ['sampling', 'context'],
  ['roots'],
  ['roots', 'listChanged'],
]

/**
 * Session ids that hold the session: sealed, so that any node opens them and nobody else can make one (compare the sealed
 * ids of agentgateway). Not a credential: the owner is compared with each request's principal.
 */
export class SealedSessions {
  readonly #keys: KeyRing
  // Opening costs some microseconds; a session's requests follow each other. Bounded, and safe to lose.
  readonly #opened = new LRUCache<string, SessionFacts>({ max: 10_000 })

  constructor(keys: KeyRing) {
    this.#keys = keys
  }

  seal(facts: Omit<SessionFacts, 'sid'>): { id: string; facts: SessionFacts } {
    const sid = randomBytes(12).toString('base64url')
    const plain = JSON.stringify([
      LEGACY.indexOf(facts.revision),
      toBits(facts.capabilities),
      facts.clientName.slice(0, 64),
      facts.clientVersion.slice(0, 32),
      facts.owner,
      facts.issuedAtMs,
      sid,
    ])
    const id = this.#keys.seal(Buffer.from(plain), PURPOSE)
    const whole = { ...facts, sid, capabilities: fromBits(toBits(facts.capabilities)) }
    this.#opened.set(id, whole)
    return { id, facts: whole }
  }

  /** `undefined` where the id was not sealed by a key of the ring. */
  open(id: string): SessionFacts | undefined {
    const known = this.#opened.get(id)
    if (known !== undefined) return known
    if (id.length > 2048) return undefined
    const plain = this.#keys.open(id, PURPOSE)
    if (plain === undefined) return undefined
    const [revision, bits, clientName, clientVersion, owner, issuedAtMs, sid] = JSON.parse(plain.toString()) as [
      number,
      number,
      string,
      string,
      string,
      number,
      string,
    ]
    const facts = {
      sid,
      revision: LEGACY[revision]!,
      capabilities: fromBits(bits),
      clientName,
      clientVersion,
      owner,
      issuedAtMs,
    }
    this.#opened.set(id, facts)
    return facts
  }
}

function toBits(capabilities: JsonObject): number {
  let bits = 0
  CAPABILITY_BITS.forEach(([name, part], index) => {
    const value = capabilities[name]
    if (!isObject(value)) return
    // `elicitation: {}` means form (2025-11-25, "Capabilities").
    const isForm = name === 'elicitation' && part === 'form' && Object.keys(value).length === 0
    const declared =
      part === undefined || isForm || (part === 'listChanged' ? value[part] === true : isObject(value[part]))
    if (declared) bits |= 1 << index
  })
  return bits
}

function fromBits(bits: number): JsonObject {
  const capabilities: Record<string, JsonObject> = {}
  CAPABILITY_BITS.forEach(([name, part], index) => {
    if ((bits & (1 << index)) === 0) return
    const entry = (capabilities[name] ??= {})
    if (part !== undefined) entry[part] = part === 'listChanged' ? true : {}
  })
  return capabilities
}
