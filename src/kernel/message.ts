import { HoldfastError } from '../errors/holdfast-error.ts'
import { isObject, META, type RequestId } from './protocol.ts'

/** Whether a value can be the id of a request: a string, or a number that JavaScript can echo exactly. */
export const isId = (id: unknown): id is RequestId =>
  typeof id === 'string' || (typeof id === 'number' && Number.isSafeInteger(id))

/** @throws {HoldfastError} `invalid_request` */
export function checkId(id: unknown): asserts id is RequestId {
  if (!isId(id)) throw new HoldfastError('invalid_request', '`id` must be a string or a whole number.')
}

/** The revision that a message claims in `params._meta`: present in every request of 2026-07-28, and in no other. */
export function claimOf(params: unknown): unknown {
  return isObject(params) && isObject(params._meta) ? params._meta[META.protocolVersion] : undefined
}

/** What a draining node still takes: neither begins anything. */
export const isAnswerOrNotification = (message: unknown): boolean =>
  Array.isArray(message)
    ? message.length > 0 && message.every(isAnswerOrNotification)
    : isObject(message) && ('method' in message ? !('id' in message) : 'result' in message || 'error' in message)
