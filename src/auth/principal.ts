import type { Principal } from '../define/context.ts'
import { isScope } from '../define/scopes.ts'
import { HoldfastError } from '../errors/holdfast-error.ts'

/** What was learnt of a caller, before scopes are expanded. */
export interface Identity {
  readonly issuer: string
  readonly subject: string
  readonly tenant?: string | undefined
  readonly scopes: readonly string[]
}

/** Makes principals, with the scopes that broader ones stand for. */
export class PrincipalMaker {
  /** Each broader scope with everything it implies, itself included. */
  readonly #closures: ReadonlyMap<string, ReadonlySet<string>>

  constructor(implied: Readonly<Record<string, readonly string[]>>) {
    const closures = new Map<string, Set<string>>()
    for (const scope of Object.keys(implied)) {
      const closure = new Set([scope])
      // A set hands out what is added while it is walked, so this follows every chain, and ends on a circle.
      for (const one of closure) for (const narrower of implied[one] ?? []) closure.add(narrower)
      closures.set(scope, closure)
    }
    this.#closures = closures
  }

  /** The same object stands for the caller as long as its credential is remembered, so what is derived from it can be too. */
  make({ issuer, subject, tenant, scopes }: Identity): Principal {
    const all = new Set(scopes.flatMap((scope) => [...(this.#closures.get(scope) ?? [scope])]))
    return Object.freeze({
      issuer,
      subject,
      ...(tenant === undefined ? {} : { tenant }),
      scopes: Object.freeze([...all]),
    })
  }
}

/** Reads the claims that tokens and introspection answers share (RFC 9068, 2.2; RFC 7662, 2.2). */
export function identityOf(
  claims: Readonly<Record<string, unknown>>,
  issuer: string,
  tenantClaim: string | undefined,
): Identity {
  const { sub, client_id: clientId, azp } = claims
  const client = text(clientId) ?? text(azp)
  const subject = text(sub) ?? (client === undefined ? undefined : `client:${client}`)
  if (subject === undefined) throw new HoldfastError('unauthenticated', 'The token names no subject (`sub`).')
  const tenant = tenantClaim === undefined ? undefined : text(claims[tenantClaim])
  if (tenantClaim !== undefined && tenant === undefined)
    throw new HoldfastError('unauthenticated', `The token has no claim ${JSON.stringify(tenantClaim)}.`)
  return { issuer, subject, tenant, scopes: scopesOf(claims.scope ?? claims.scp) }
}

const text = (value: unknown): string | undefined =>
  typeof value === 'string' && value !== '' ? value : typeof value === 'number' ? String(value) : undefined

/** `scope` is a list separated by spaces (RFC 8693, 4.2); `scp` is that or an array, by vendor. */
function scopesOf(value: unknown): string[] {
  const scopes: unknown[] = typeof value === 'string' ? value.split(' ') : Array.isArray(value) ? value : []
  return scopes.filter(isScope)
}
