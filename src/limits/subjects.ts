import { createHash } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { ANONYMOUS, type Principal } from '../define/context.ts'
import { callerOf } from '../kernel/caller.ts'
import type { Limited } from '../kernel/limits.ts'
import { globalLimitTag, limitKey } from '../kernel/keys.ts'
import type { TokenBucket } from '../ports/state-store.ts'
import type { CompiledLimit, Rate } from './compiled-limit.ts'

/** The bucket that a limit has for one subject. */
export interface Bucket {
  readonly limit: CompiledLimit
  readonly rate: Rate
  /** What its key has in braces: the tenant's, or a global limit's own. */
  readonly tag: string
  /** What is asked of the store for a call of fixed cost. */
  readonly want: TokenBucket
}

/** The buckets that a request, or a call of one tool, must pass. */
export interface Plan {
  readonly buckets: readonly Bucket[]
  /** Their wants, where no cost depends on arguments. */
  readonly wants: readonly TokenBucket[] | undefined
  /** Until when it holds, by the monotonic clock: overrides are asked for again after a while. */
  readonly untilMs: number
}

/** Who is limited: a principal, or the address of an anonymous caller. */
export interface Subject {
  /** Digest of the tenant: names that callers choose do not get into keys. */
  readonly tenant: string
  /** Digest of the principal. */
  readonly id: string
  /** Plans by tool, and by what else has one; `undefined` is the server's. */
  readonly plans: Map<string | undefined, Plan>
}

/** Subjects that are remembered; who is forgotten is worked out again. */
const MAX_SUBJECTS = 10_000

/** Knows who calls. Bounded: the subjects that were not seen for longest are forgotten. */
export class Subjects {
  readonly #byName = new LRUCache<string, Subject>({ max: MAX_SUBJECTS })
  /** Principals are often the same object, as long as a token is remembered: that spares making their name. */
  readonly #byPrincipal = new WeakMap<Principal, Subject>()

  of(exchange: Limited): Subject {
    const { principal } = exchange
    if (principal.issuer === ANONYMOUS.issuer) return this.#named(callerOf(exchange), principal)
    let subject = this.#byPrincipal.get(principal)
    if (subject === undefined) {
      subject = this.#named(callerOf(exchange), principal)
      this.#byPrincipal.set(principal, subject)
    }
    return subject
  }

  #named(name: string, principal: Principal): Subject {
    let subject = this.#byName.get(name)
    if (subject === undefined) {
      const id = digest(name)
      const { issuer, tenant } = principal
      // A caller without a tenant is its own.
      const of = tenant === undefined ? id : digest(JSON.stringify([issuer, tenant]))
      subject = { tenant: of, id, plans: new Map() }
      this.#byName.set(name, subject)
    }
    return subject
  }
}

/** The bucket of a limit for a subject; `rate` as overridden. */
export function bucketOf(limit: CompiledLimit, subject: Subject, rate: Rate): Bucket {
  const { per } = limit.definition
  const tag = per === 'global' ? globalLimitTag(limit.name) : subject.tenant
  const key = limitKey(tag, limit.name, per === 'principal' ? subject.id : 'all')
  return {
    limit,
    rate,
    tag,
    want: { key, burst: rate.burst, intervalUs: rate.intervalUs, cost: limit.fixedCost },
  }
}

const digest = (text: string): string => createHash('sha256').update(text).digest('base64url').slice(0, 22)
