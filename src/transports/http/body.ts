import type { IncomingMessage } from 'node:http'
import type { Ticker, Ticking } from '../../kernel/ticker.ts'
import type { Clock } from '../../ports/clock.ts'
import { HoldfastError } from '../../errors/holdfast-error.ts'

/** Bounds of reading one body. */
export interface BodyBounds {
  maxBodyBytes: number
  bodyTimeoutMs: number
}

/**
 * Reads a whole body, and calls back once: with the bytes, or with what is wrong. Does nothing more if the client goes away.
 */
export function readBody(
  request: IncomingMessage,
  bounds: BodyBounds,
  time: { clock: Clock; ticker: Ticker },
  onBody: (bytes: Buffer) => void,
  onError: (error: HoldfastError) => void,
): void {
  const { maxBodyBytes, bodyTimeoutMs } = bounds
  const declared = Number(request.headers['content-length'] ?? 0)
  if (declared > maxBodyBytes) return onError(tooLarge(maxBodyBytes))
  let first: Buffer | undefined
  let rest: Buffer[] | undefined
  let length = 0
  let deadline: Ticking | undefined
  const finish = (): void => {
    request.off('data', onData)
    request.off('end', onEnd)
    if (deadline !== undefined) {
      time.ticker.delete(deadline)
      request.off('close', onClose)
    }
  }
  const fail = (error: HoldfastError): void => {
    finish()
    onError(error)
  }
  const onClose = (): void => finish()
  const onData = (chunk: Buffer): void => {
    length += chunk.length
    if (length > maxBodyBytes) return fail(tooLarge(maxBodyBytes))
    if (first === undefined) first = chunk
    else (rest ??= [first]).push(chunk)
    if (deadline === undefined && length < declared) watch()
  }
  const onEnd = (): void => {
    finish()
    onBody(rest === undefined ? (first ?? Buffer.alloc(0)) : Buffer.concat(rest, length))
  }
  // Most bodies arrive with their headers; only those that don't are worth a watch.
  const watch = (): void => {
    const sinceMs = time.clock.monotonic()
    deadline = {
      tick(nowMs) {
        if (nowMs - sinceMs > bodyTimeoutMs)
          fail(new HoldfastError('body_too_slow', `The body did not arrive within ${bodyTimeoutMs} ms.`))
      },
    }
    time.ticker.add(deadline)
    request.on('close', onClose)
  }
  request.on('data', onData)
  request.on('end', onEnd)
  if (request.headers['content-length'] === undefined) watch()
}

const tooLarge = (maxBodyBytes: number): HoldfastError =>
  new HoldfastError('body_too_large', `The body is larger than ${maxBodyBytes} bytes.`)
