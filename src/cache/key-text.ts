import { HoldfastError } from '../errors/holdfast-error.ts'

/** Deeper is a mistake, a value that holds itself most likely. */
const MAX_DEPTH = 64

/**
 * A key as text: equal for equal values, whatever the order of their members, and different for different ones. Members that are
 * `undefined` count as absent.
 *
 * @throws {HoldfastError} `invalid_cache` for what JSON can't say, or says like something else (a `Map` as `{}`, NaN as null).
 */
export function toKeyText(value: unknown, depth = 0): string {
  switch (typeof value) {
    case 'string':
      return JSON.stringify(value)
    case 'boolean':
      return value ? 'true' : 'false'
    case 'number':
      if (Number.isFinite(value)) return String(value)
      return refuse(String(value))
    case 'object':
      if (value === null) return 'null'
      if (depth > MAX_DEPTH) return refuse('an object that is too deep, or holds itself')
      return Array.isArray(value) ? arrayText(value, depth) : objectText(value, depth)
    default:
      return refuse(value === undefined ? 'undefined' : `a ${typeof value}`)
  }
}

function arrayText(items: readonly unknown[], depth: number): string {
  let text = '['
  for (let index = 0; index < items.length; index++)
    text += (index === 0 ? '' : ',') + toKeyText(items[index], depth + 1)
  return `${text}]`
}

function objectText(value: object, depth: number): string {
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) {
    if (value instanceof Date && !Number.isNaN(value.getTime())) return JSON.stringify(value)
    return refuse(`a ${value.constructor?.name ?? 'object of a class'}`)
  }
  const names = Object.keys(value)
  if (names.length > 1) names.sort()
  let text = '{'
  for (const name of names) {
    const member = (value as Record<string, unknown>)[name]
    if (member === undefined) continue
    text += `${text.length === 1 ? '' : ','}${JSON.stringify(name)}:${toKeyText(member, depth + 1)}`
  }
  return `${text}}`
}

function refuse(what: string): never {
  throw new HoldfastError(
    'invalid_cache',
    `The key of a cached value holds ${what}. A key is made of texts, finite numbers, true, false, null, dates, arrays and plain objects; of bytes give a digest.`,
  )
}
