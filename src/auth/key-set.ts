import { createLocalJWKSet, errors, type CryptoKey, type JSONWebKeySet, type JWSHeaderParameters } from 'jose'
import { HoldfastError } from '../errors/holdfast-error.ts'
import type { Clock } from '../ports/clock.ts'
import { fetchDeadline, FetchFailure } from './fetch-json.ts'

/** Finds the key of a signature. */
type FindKey = (header: JWSHeaderParameters) => Promise<CryptoKey>

/** How long fetched keys are used before they are fetched again, beside the requests that use them. */
const FRESH_MS = 5 * 60_000
/** How long fetched keys are used while they can't be fetched again. */
const STALE_MS = 24 * 3_600_000
/** Between two fetches, whatever tokens come: an unknown key id is free to make up. */
const COOLDOWN_MS = 10_000
/** Most keys of a set; the biggest issuers have some dozens. */
const MAX_KEYS = 200

/**
 * The signing keys of an issuer (RFC 7517).
 *
 * 1. At most one fetch runs at a time, and the next one begins `COOLDOWN_MS` after it at the earliest.
 * 2. A request waits for a fetch only where it can't be decided without one: before the first, for a key id that is not
 *    known, or when the keys are older than `STALE_MS`.
 * 3. Without keys nothing is let in: `auth_unavailable`. With keys, a failing endpoint changes nothing for tokens signed by
 *    them. (jose's own remote key set fails in both cases once its keys are older than its bound.)
 */
export class KeySet {
  readonly #fetchKeys: (signal: AbortSignal) => Promise<Record<string, unknown>>
  readonly #clock: Clock
  readonly #onFailure: (error: unknown) => void
  #find: FindKey | undefined
  #text = ''
  #fetchedMs = -Infinity
  #triedMs = -Infinity
  #hasFailed = false
  #pending: Promise<void> | undefined

  /** @param fetchKeys fetches the set. @param onFailure told of each fetch that failed. */
  constructor(
    fetchKeys: (signal: AbortSignal) => Promise<Record<string, unknown>>,
    clock: Clock,
    onFailure: (error: unknown) => void,
  ) {
    this.#fetchKeys = fetchKeys
    this.#clock = clock
    this.#onFailure = onFailure
  }

  /**
   * The key that a header names.
   * @throws {HoldfastError} `auth_unavailable` where the keys can't be had.
   * @throws jose's errors where no key, or more than one, fits.
   */
  async find(header: JWSHeaderParameters): Promise<CryptoKey> {
    const ageMs = this.#clock.monotonic() - this.#fetchedMs
    if (this.#find === undefined || ageMs > STALE_MS) await this.#refresh()
    else if (ageMs > FRESH_MS) void this.#refresh()
    if (this.#find === undefined || this.#clock.monotonic() - this.#fetchedMs > STALE_MS) throw this.#unavailable()
    try {
      return await this.#find(header)
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error
      // A key that was made after the last fetch, or one that never was.
      await this.#refresh()
      if (this.#hasFailed) throw this.#unavailable()
      return this.#find(header)
    }
  }

  /** Fetches the keys if that may be done now; never rejects. */
  #refresh(): Promise<void> {
    if (this.#pending !== undefined) return this.#pending
    if (this.#clock.monotonic() - this.#triedMs < COOLDOWN_MS) return Promise.resolve()
    this.#pending = this.#fetch().finally(() => {
      this.#pending = undefined
      this.#triedMs = this.#clock.monotonic()
    })
    return this.#pending
  }

  async #fetch(): Promise<void> {
    try {
      const set = await this.#fetchKeys(fetchDeadline())
      const { keys } = set
      if (!Array.isArray(keys) || keys.length > MAX_KEYS)
        throw new FetchFailure(`The key set has no array \`keys\` of at most ${MAX_KEYS}.`)
      const text = JSON.stringify(keys)
      // The set keeps the keys that it has imported, so an equal one is not made anew.
      if (text !== this.#text) this.#find = createLocalJWKSet(set as unknown as JSONWebKeySet)
      this.#text = text
      this.#fetchedMs = this.#clock.monotonic()
      this.#hasFailed = false
    } catch (error) {
      this.#hasFailed = true
      this.#onFailure(error)
    }
  }

  #unavailable(): HoldfastError {
    const retryAfterMs = Math.max(1000, this.#triedMs + COOLDOWN_MS - this.#clock.monotonic())
    return new HoldfastError('auth_unavailable', 'The keys of the authorization server can not be had now.', {
      data: { retryAfterMs: Math.min(retryAfterMs, COOLDOWN_MS) },
    })
  }
}
