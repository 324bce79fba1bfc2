import { randomBytes } from 'node:crypto'
import { HoldfastError } from '../errors/holdfast-error.ts'
import { canonical, sha256 } from './digest.ts'
import type { Invocation } from './invocation.ts'
import { journalKey } from './keys.ts'
import { ownerOf } from './owner.ts'
import { isObject } from './protocol.ts'

/** What an invocation recorded: a step's value, or the answer to a question, as it came. A step that gave nothing has no value. */
export type Entry = readonly [name: string, kind: EntryKind, value?: unknown]
export type EntryKind = 'step' | 'sleep' | 'task' | 'elicit' | 'url' | 'sample' | 'roots'

/** One leg of a call that has been asking, as its `requestState` tells it to the next. */
export interface Leg {
  /** Names this leg in the store; as hard to guess as the seal. */
  readonly id: string
  readonly entries: readonly Entry[]
  /** What the client was asked. */
  readonly asked: readonly string[]
  readonly expiresMs: number
  /** See {@link Invocation.callKey}. */
  readonly callKey: readonly [key: string, digest: string] | undefined
  /** The leg before recorded nothing: it was answered nothing, or nothing that fits. */
  readonly isStalled: boolean
}

/** The sealed text: `[owner, request digest, expiry, nonce, asked, entries | handle, call key, is stalled]`. */
type Sealed = [string, string, number, string, string[], Entry[] | string, Leg['callKey'] | null, boolean]

const PURPOSE = 'request-state'
/** A journal up to this size travels with the client; a bigger one lies in the store, and its handle travels. */
const TRAVELLING_BYTES = 4096
/** Most that one invocation may record. */
const MAX_JOURNAL_BYTES = 1024 * 1024

/** Everything of a request that its later legs must repeat. */
function requestDigest({ facts: { method, params } }: Invocation): string {
  return sha256([method, canonical([params.name ?? null, params.uri ?? null, params.arguments ?? {}])])
}

/**
 * Seals what an invocation has recorded, for the client to bring back (MCP 2026-07-28, multi round-trip requests, server
 * requirements 4 and 5): bound to the caller, to the request, and in time.
 *
 * @throws {HoldfastError} `journal_too_large`, `backend_failed`
 */
export async function sealRequestState(
  invocation: Invocation,
  entries: readonly Entry[],
  asked: readonly string[],
  isStalled: boolean,
): Promise<string> {
  const { services, principal } = invocation
  const { clock, keys, options, state } = services
  const text = JSON.stringify(entries)
  const size = Buffer.byteLength(text)
  if (size > MAX_JOURNAL_BYTES)
    throw new HoldfastError(
      'journal_too_large',
      `The call has recorded ${size} bytes of steps and answers; ${MAX_JOURNAL_BYTES} are allowed. Record references, not contents.`,
    )
  let journal: Entry[] | string = entries as Entry[]
  if (size > TRAVELLING_BYTES) {
    journal = randomBytes(16).toString('base64url')
    await state.set(journalKey(journal), Buffer.from(text), { ttlMs: options.questionTtlMs })
  }
  const nonce = randomBytes(16).toString('base64url')
  const expiresMs = clock.now() + options.questionTtlMs
  const sealed: Sealed = [
    ownerOf(principal),
    requestDigest(invocation),
    expiresMs,
    nonce,
    [...asked],
    journal,
    invocation.callKey ?? null,
    isStalled,
  ]
  return keys.seal(Buffer.from(JSON.stringify(sealed)), PURPOSE)
}

/**
 * Opens a `requestState` for the request that carries it.
 * @throws {HoldfastError} `request_state_invalid`, `request_state_foreign`, `request_state_expired`,
 * `request_state_mismatch`, `state_unavailable`
 */
export async function openRequestState(invocation: Invocation, text: unknown): Promise<Leg> {
  const { services, principal } = invocation
  const plain = typeof text === 'string' ? services.keys.open(text, PURPOSE) : undefined
  if (plain === undefined)
    throw new HoldfastError(
      'request_state_invalid',
      '`params.requestState` was not made by this server, or was changed. Send back exactly what you were given.',
    )
  const [owner, digest, expiresMs, nonce, asked, journal, callKey, isStalled] = JSON.parse(plain.toString()) as Sealed
  if (owner !== ownerOf(principal))
    throw new HoldfastError('request_state_foreign', '`params.requestState` was given to another caller.')
  if (services.clock.now() > expiresMs)
    throw new HoldfastError(
      'request_state_expired',
      'The question has expired. Call again without `requestState` and `inputResponses`.',
    )
  if (digest !== requestDigest(invocation))
    throw new HoldfastError(
      'request_state_mismatch',
      '`params.requestState` belongs to another request. Repeat the request as it was first sent: same method, name and arguments.',
    )
  const entries = typeof journal === 'string' ? await readJournal(invocation, journal) : journal
  return { id: sha256([nonce]), entries, asked, expiresMs, callKey: callKey ?? undefined, isStalled }
}

async function readJournal({ services }: Invocation, handle: string): Promise<Entry[]> {
  const [bytes] = await services.state.getMany([journalKey(handle)])
  if (bytes === undefined)
    throw new HoldfastError(
      'request_state_expired',
      'What the call had recorded is no longer kept. Call again without `requestState` and `inputResponses`.',
    )
  return JSON.parse(Buffer.from(bytes).toString()) as Entry[]
}

/** @throws {HoldfastError} `invalid_params` */
export function answersOf({ facts }: Invocation): Readonly<Record<string, unknown>> {
  const { inputResponses } = facts.params
  if (inputResponses === undefined) return {}
  if (!isObject(inputResponses))
    throw new HoldfastError('invalid_params', '`params.inputResponses` must be an object of answers by key.')
  return inputResponses
}
