import { hash, randomBytes, timingSafeEqual } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import type { Principal } from '../define/context.ts'
import { isScope } from '../define/scopes.ts'
import { HoldfastError } from '../errors/holdfast-error.ts'
import type { Clock } from '../ports/clock.ts'
import type { PrincipalMaker } from './principal.ts'

/** An API key as the server keeps it: its hash, and whom it stands for. */
export interface ApiKeyEntry {
  /** The part of the key after `hf_` that names it; no secret. */
  id: string
  /** SHA-256 of the whole key, in hexadecimal. The secret is 256 random bits, so a slow hash would add nothing. */
  hash: string
  subject: string
  tenant?: string
  /** Default: none. */
  scopes?: readonly string[]
  /** When the key ends (ISO 8601). Default: never. */
  expiresAt?: string
}

/** `Principal.issuer` of who comes with an API key. */
export const API_KEY_ISSUER = 'api-key'

const KEY = /^hf_([A-Za-z0-9]{8,32})_[A-Za-z0-9_-]{43}$/
/** Between two looks at the file: so long a key that was taken out of it still works. */
const LOOK_AGAIN_MS = 2000

/** Whether a credential looks like an API key. */
export const isApiKey = (credential: string): boolean => credential.startsWith('hf_')

/** Makes a key: the text that its holder is given, once, and the entry that the server keeps. */
export function createApiKey(fields: Omit<ApiKeyEntry, 'id' | 'hash'>): { key: string; entry: ApiKeyEntry } {
  const id = randomBytes(8).toString('hex')
  const key = `hf_${id}_${randomBytes(32).toString('base64url')}`
  return { key, entry: { id, hash: hash('sha256', key), ...fields } }
}

interface Held {
  readonly hash: Buffer
  readonly principal: Principal
  readonly expiresMs: number
}

/** The keys that are good, from a list or from a file that is read again when it changes. */
export class ApiKeys {
  readonly #file: string | undefined
  readonly #maker: PrincipalMaker
  readonly #clock: Clock
  readonly #onFailure: (error: unknown) => void
  #keys: ReadonlyMap<string, Held>
  #stamp = ''
  #lookedMs: number

  /** @throws {HoldfastError} `invalid_option` for a file that can't be read, or an entry of the wrong form. */
  constructor(
    source: string | readonly ApiKeyEntry[],
    maker: PrincipalMaker,
    clock: Clock,
    onFailure: (error: unknown) => void,
  ) {
    this.#file = typeof source === 'string' ? source : undefined
    this.#maker = maker
    this.#clock = clock
    this.#onFailure = onFailure
    this.#lookedMs = clock.monotonic()
    if (this.#file !== undefined) this.#stamp = stampOf(this.#file)
    this.#keys = this.#hold(this.#file === undefined ? source : readApiKeys(this.#file))
  }

  /**
   * Whom a key stands for. Synchronous, at the price of one hash.
   * @throws {HoldfastError} `unauthenticated`: the same for a key that never was, and for one with a wrong secret.
   */
  authenticate(key: string): Principal {
    this.#lookAgain()
    const held = this.#keys.get(KEY.exec(key)?.[1] ?? '')
    const isSame = timingSafeEqual(hash('sha256', key, 'buffer'), held?.hash ?? NO_HASH)
    if (held === undefined || !isSame) throw new HoldfastError('unauthenticated', 'There is no such API key.')
    if (held.expiresMs <= this.#clock.now()) throw new HoldfastError('unauthenticated', 'The API key has expired.')
    return held.principal
  }

  /** A file that can't be read any more leaves the keys as they are: a slip of an editor must not lock everybody out. */
  #lookAgain(): void {
    const nowMs = this.#clock.monotonic()
    if (this.#file === undefined || nowMs - this.#lookedMs < LOOK_AGAIN_MS) return
    this.#lookedMs = nowMs
    try {
      const stamp = stampOf(this.#file)
      if (stamp === this.#stamp) return
      this.#keys = this.#hold(readApiKeys(this.#file))
      this.#stamp = stamp
    } catch (error) {
      this.#onFailure(error)
    }
  }

  #hold(entries: unknown): ReadonlyMap<string, Held> {
    const keys = new Map<string, Held>()
    for (const [index, entry] of checkEntries(entries).entries()) {
      if (keys.has(entry.id)) refuse(index, `has the id ${entry.id} of an entry before it`)
      const { subject, tenant, scopes = [], expiresAt } = entry
      keys.set(entry.id, {
        hash: Buffer.from(entry.hash, 'hex'),
        principal: this.#maker.make({ issuer: API_KEY_ISSUER, subject, tenant, scopes }),
        expiresMs: expiresAt === undefined ? Infinity : Date.parse(expiresAt),
      })
    }
    return keys
  }
}

/** Compared with where there is no key of that id, so that both answers take as long. */
const NO_HASH = Buffer.alloc(32)

function stampOf(file: string): string {
  try {
    const { mtimeMs, size, ino } = statSync(file)
    return `${mtimeMs} ${size} ${ino}`
  } catch (cause) {
    throw new HoldfastError('invalid_option', `The file of API keys ${file} can't be read.`, { cause })
  }
}

/** The entries of a file of keys. @throws {HoldfastError} `invalid_option` */
export function readApiKeys(file: string): unknown {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (cause) {
    throw new HoldfastError('invalid_option', `The file of API keys ${file} can't be read.`, { cause })
  }
  try {
    return JSON.parse(text)
  } catch {
    // Without its cause, whose message quotes the file.
    throw new HoldfastError('invalid_option', `The file of API keys ${file} holds something other than JSON.`)
  }
}

/** @throws {HoldfastError} `invalid_option`; never with what a field holds, which may be a key that was put in its place. */
export function checkEntries(entries: unknown): ApiKeyEntry[] {
  if (!Array.isArray(entries))
    throw new HoldfastError('invalid_option', 'API keys are an array of { id, hash, subject, scopes }.')
  for (const [index, entry] of (entries as Partial<Record<keyof ApiKeyEntry, unknown>>[]).entries()) {
    if (typeof entry !== 'object' || entry === null) refuse(index, 'is no object')
    const { id, hash: hashed, subject, tenant, scopes, expiresAt } = entry
    if (typeof id !== 'string' || !/^[A-Za-z0-9]{8,32}$/.test(id))
      refuse(index, 'has no `id` of 8 to 32 letters or digits')
    if (typeof hashed !== 'string' || !/^[0-9a-f]{64}$/.test(hashed))
      refuse(index, 'has no `hash` (SHA-256 in hexadecimal)')
    if (typeof subject !== 'string' || subject === '') refuse(index, 'has no `subject`')
    if (tenant !== undefined && (typeof tenant !== 'string' || tenant === ''))
      refuse(index, 'has a `tenant` that is no text')
    if (scopes !== undefined && !(Array.isArray(scopes) && scopes.every(isScope)))
      refuse(index, 'has `scopes` that are no array of scopes')
    if (expiresAt !== undefined && (typeof expiresAt !== 'string' || Number.isNaN(Date.parse(expiresAt))))
      refuse(index, 'has an `expiresAt` that is no date')
  }
  return entries as ApiKeyEntry[]
}

function refuse(index: number, what: string): never {
  throw new HoldfastError(
    'invalid_option',
    `Entry ${index} of the API keys ${what}. Make entries with \`holdfast api-keys create\`.`,
  )
}
