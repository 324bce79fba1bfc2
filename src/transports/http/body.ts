import type { IncomingMessage } from 'node:http'
import { HoldfastError } from '../../errors/holdfast-error.ts'
import type { Ticker, Ticking } from '../../kernel/ticker.ts'
import type { PendingBody } from '../../limits/pending-bytes.ts'

/** Bounds of reading one body. */
export interface BodyBounds {
  maxBodyBytes: number
  bodyTimeoutMs: number
}

/** What a chunk costs beside its bytes: a body of single bytes would else hold a hundred times what it counts for. */
export const CHUNK_BYTES = 256

/** Begins to count the bytes of a body that has not come whole; `onEvict` is called if it has to go. */
export type CountBytes = (onEvict: (error: HoldfastError) => void) => PendingBody

/**
 * Reads a whole body, and calls back once: with the bytes, or with what is wrong. Does nothing more if the client goes away.
 *
 * @param count asked only for a body that does not come in one piece: most do, and are served in the same turn.
 */
export function readBody(
  request: IncomingMessage,
  { maxBodyBytes, bodyTimeoutMs }: BodyBounds,
  ticker: Ticker,
  count: CountBytes,
  onBody: (bytes: Buffer) => void,
  onError: (error: HoldfastError) => void,
): void {
  const declared = Number(request.headers['content-length'])
  if (declared > maxBodyBytes) return onError(bodyTooLarge(maxBodyBytes))
  let pending: PendingBody | undefined
  let sinceMs: number | undefined
  let first: Buffer | undefined
  let rest: Buffer[] | undefined
  let length = 0
  const finish = (): void => {
    request.off('data', onData)
    request.off('end', onEnd)
    ticker.delete(deadline)
    pending?.release()
  }
  const fail = (error: HoldfastError): void => {
    finish()
    onError(error)
  }
  const onData = (chunk: Buffer): void => {
    length += chunk.length
    if (length > maxBodyBytes) return fail(bodyTooLarge(maxBodyBytes))
    if (first === undefined) first = chunk
    else (rest ??= [first]).push(chunk)
    if (length === declared) return
    pending ??= count(fail)
    pending.grow(chunk.length + CHUNK_BYTES)
  }
  const onEnd = (): void => {
    finish()
    onBody(rest === undefined ? (first ?? Buffer.alloc(0)) : Buffer.concat(rest, length))
  }
  const deadline: Ticking = {
    tick(nowMs) {
      if (request.destroyed) finish()
      else if (nowMs - (sinceMs ??= nowMs) > bodyTimeoutMs) fail(bodyTooSlow(bodyTimeoutMs))
    },
  }
  request.on('data', onData)
  request.on('end', onEnd)
  ticker.add(deadline)
}

/** The refusal of a body over the bound. */
export const bodyTooLarge = (maxBodyBytes: number): HoldfastError =>
  new HoldfastError('body_too_large', `The body is larger than ${maxBodyBytes} bytes.`)
/** The refusal of a body that did not come in time. */
export const bodyTooSlow = (bodyTimeoutMs: number): HoldfastError =>
  new HoldfastError('body_too_slow', `The body did not arrive within ${bodyTimeoutMs} ms.`)

/** What to do about a body that is gone. */
const BODY_IS_GONE =
  'Something read the body before this handler. Mount the handler before body parsers, or give it what they made of the body as its third argument.'

/**
 * The body as something before us has read it (`express.json()`, Fastify's content-type parsers), or `undefined` where it is
 * still to be read. Text and bytes are taken as they are; what was parsed is written again, so that the bounds hold for it too.
 *
 * @param given the third argument of the handler; Express puts its `next` there.
 * @throws {HoldfastError} `internal_error` where the body was read and left nowhere, `body_too_large`.
 */
export function bodyReadBefore(request: IncomingMessage, given: unknown, maxBodyBytes: number): Buffer | undefined {
  const hasGiven = given !== undefined && typeof given !== 'function'
  if (!hasGiven && !request.readableDidRead && !request.readableEnded) return undefined
  const body = hasGiven ? given : (request as { body?: unknown }).body
  if (body === undefined) throw new HoldfastError('internal_error', BODY_IS_GONE)
  const bytes = Buffer.from(body instanceof Uint8Array ? body : typeof body === 'string' ? body : JSON.stringify(body))
  if (bytes.length > maxBodyBytes) throw bodyTooLarge(maxBodyBytes)
  return bytes
}
