/*
 * What models answer, as bytes: JSON, and the three kinds of value that an answer may hold beside it (dates, URLs, bytes).
 */

/** Name of the property that marks what JSON has no form for. An object that has it by itself is marked, too. */
const MARK = '$holdfast'

interface Marked {
  readonly [MARK]: 'date' | 'url' | 'bytes' | 'object'
  readonly value: unknown
}

/** A value as bytes. What is `undefined` in an object is left out. */
export function toBytes(value: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(mark(value)))
}

/** @throws {SyntaxError} where the bytes are no JSON. */
export function fromBytes(bytes: Uint8Array): unknown {
  return unmark(JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString()))
}

function mark(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (value instanceof Date) return { [MARK]: 'date', value: value.getTime() } satisfies Marked
  if (value instanceof URL) return { [MARK]: 'url', value: value.href } satisfies Marked
  if (value instanceof Uint8Array)
    return { [MARK]: 'bytes', value: Buffer.from(value).toString('base64') } satisfies Marked
  if (Array.isArray(value)) return value.map(mark)
  const inner = Object.fromEntries(Object.entries(value).map(([name, one]) => [name, mark(one)]))
  return Object.hasOwn(value, MARK) ? ({ [MARK]: 'object', value: inner } satisfies Marked) : inner
}

function unmark(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map(unmark)
  if (!Object.hasOwn(value, MARK)) return unmarkEntries(value)
  const { [MARK]: kind, value: inner } = value as Marked
  if (kind === 'date') return new Date(inner as number)
  if (kind === 'url') return new URL(inner as string)
  if (kind === 'bytes') return new Uint8Array(Buffer.from(inner as string, 'base64'))
  return unmarkEntries(inner as object)
}

const unmarkEntries = (value: object): object =>
  Object.fromEntries(Object.entries(value).map(([name, one]) => [name, unmark(one)]))
