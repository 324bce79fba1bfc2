import { isUtf8 } from 'node:buffer'
import { HoldfastError } from '../errors/holdfast-error.ts'

/** What a message may be made of at most; each bound has an error code of its own. */
export interface JsonBounds {
  /** Levels of arrays and objects. */
  maxJsonDepth: number
  /** Values in arrays and objects together, keys not counted; an array or object counts itself too, and an empty one twice. */
  maxJsonElements: number
  /** Bytes of one string, as it stands in the message. */
  maxStringBytes: number
}

const QUOTE = 0x22
const BACKSLASH = 0x5c
const COMMA = 0x2c

/**
 * Parses a message within bounds. The bounds are checked on the bytes, before anything is built from them: a body of
 * brackets would else grow fiftyfold in memory before it could be refused.
 *
 * @throws {HoldfastError} `parse_error`, `json_too_deep`, `json_too_many_elements`, `json_string_too_long`.
 */
export function parseJson(bytes: Buffer, bounds: JsonBounds): unknown {
  if (!isUtf8(bytes)) throw new HoldfastError('parse_error', 'The body is not UTF-8.')
  checkBounds(bytes, bounds)
  try {
    return JSON.parse(bytes.toString('utf8'))
  } catch {
    throw new HoldfastError('parse_error', bytes.length === 0 ? 'The body is empty.' : 'The body is not JSON.')
  }
}

function checkBounds(bytes: Buffer, { maxJsonDepth, maxJsonElements, maxStringBytes }: JsonBounds): void {
  const length = bytes.length
  let depth = 0
  let elements = 0
  for (let index = 0; index < length; index++) {
    const byte = bytes[index]!
    if (byte === QUOTE) {
      const start = index + 1
      index = endOfString(bytes, start)
      if (index - start > maxStringBytes)
        throw new HoldfastError('json_string_too_long', `A string of the body is longer than ${maxStringBytes} bytes.`)
    } else if (byte === COMMA) {
      if (++elements > maxJsonElements) tooMany(maxJsonElements)
    } else if (byte === 0x7b || byte === 0x5b) {
      if (++depth > maxJsonDepth)
        throw new HoldfastError('json_too_deep', `The body nests deeper than ${maxJsonDepth} levels.`)
      if (++elements > maxJsonElements) tooMany(maxJsonElements)
    } else if (byte === 0x7d || byte === 0x5d) depth--
  }
}

/** Strings up to this length are walked byte by byte: a call into native code costs more than that. */
const SHORT = 64

/** Index of the quote that ends the string whose text begins at `start`, or the end of the bytes. */
function endOfString(bytes: Buffer, start: number): number {
  const near = Math.min(bytes.length, start + SHORT)
  let from = start
  while (from < near && bytes[from] !== QUOTE && bytes[from] !== BACKSLASH) from++
  if (bytes[from] === QUOTE) return from
  for (;;) {
    const quote = bytes.indexOf(QUOTE, from)
    if (quote === -1) return bytes.length
    let backslashes = 0
    while (quote - 1 - backslashes >= start && bytes[quote - 1 - backslashes] === BACKSLASH) backslashes++
    if (backslashes % 2 === 0) return quote
    from = quote + 1
  }
}

function tooMany(max: number): never {
  throw new HoldfastError('json_too_many_elements', `The body has more than ${max} values.`)
}
