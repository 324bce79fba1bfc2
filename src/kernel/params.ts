import { HoldfastError } from '../errors/holdfast-error.ts'
import type { JsonObject } from './protocol.ts'

/** A required string among the parameters. */
export function stringParam(params: JsonObject, name: string): string {
  const value = params[name]
  if (typeof value !== 'string')
    throw new HoldfastError('invalid_params', `\`params.${name}\` must be a string; it is ${describe(value)}.`)
  return value
}

/** A value's kind, for messages. */
export function describe(value: unknown): string {
  return value === undefined
    ? 'missing'
    : value === null
      ? 'null'
      : Array.isArray(value)
        ? 'an array'
        : `of type ${typeof value}`
}
