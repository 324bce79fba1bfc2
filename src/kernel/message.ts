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
