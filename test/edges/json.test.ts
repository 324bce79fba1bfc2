import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { HoldfastError } from '../../src/errors/holdfast-error.ts'
import { parseJson, type JsonBounds } from '../../src/kernel/json.ts'

const UNBOUNDED: JsonBounds = { maxJsonDepth: 1e6, maxJsonElements: 1e6, maxStringBytes: 1e6 }
const fatal = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** What came of parsing: the value, or the code of the error. */
function outcome(bytes: Buffer, bounds: JsonBounds = UNBOUNDED): { value: unknown } | { code: string } {
  try {
    return { value: parseJson(bytes, bounds) }
  } catch (error) {
    expect(error).toBeInstanceOf(HoldfastError)
    return { code: (error as HoldfastError).code }
  }
}

/** The same by the plainest means: decode, parse. */
function reference(bytes: Buffer): { value: unknown } | { code: string } {
  try {
    return { value: JSON.parse(fatal.decode(bytes)) }
  } catch {
    return { code: 'parse_error' }
  }
}

/** How a value measures, counted on the value itself. */
function measure(value: unknown): { depth: number; elements: number; stringBytes: number } {
  if (typeof value === 'string') return { depth: 0, elements: 0, stringBytes: bytesOf(value) }
  if (typeof value !== 'object' || value === null) return { depth: 0, elements: 0, stringBytes: 0 }
  const inner = Object.values(value).map(measure)
  const keys = Array.isArray(value) ? [] : Object.keys(value).map(bytesOf)
  return {
    depth: 1 + Math.max(0, ...inner.map(({ depth }) => depth)),
    // An empty array or object counts like one that holds a value.
    elements: Math.max(1, inner.length) + inner.reduce((sum, { elements }) => sum + elements, 0),
    stringBytes: Math.max(0, ...keys, ...inner.map(({ stringBytes }) => stringBytes)),
  }
}
/** Bytes of a string between its quotes, as JSON.stringify writes it. */
const bytesOf = (text: string): number => Buffer.byteLength(JSON.stringify(text)) - 2

const anyJson = fc.jsonValue({ maxDepth: 6, stringUnit: 'binary' })
/** JSON with the white space, escapes and numbers that others write. */
const spelt = anyJson.chain((value) =>
  fc.tuple(fc.constantFrom(undefined, 1, '\t'), fc.boolean()).map(([indent, isEscaped]) => {
    const text = JSON.stringify(value, undefined, indent)
    return isEscaped
      ? text.replaceAll(/[^\x00-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
      : text
  }),
)
/** Text that is nearly JSON. */
const nearly = fc
  .tuple(
    spelt,
    fc.array(fc.tuple(fc.nat(), fc.constantFrom(...'[]{}",:\\0123456789eE+-. tfn\u0000\ufeffé')), { maxLength: 3 }),
  )
  .map(([text, edits]) =>
    edits.reduce((current, [at, character]) => {
      const index = at % (current.length + 1)
      return current.slice(0, index) + character + current.slice(index + (at % 2))
    }, text),
  )

describe('parsing a message', () => {
  it('takes what JSON.parse takes of UTF-8, with the same value, and refuses the rest', () => {
    fc.assert(
      fc.property(fc.oneof(spelt, nearly, fc.string({ unit: 'binary' })), (text) => {
        const bytes = Buffer.from(text)
        expect(outcome(bytes)).toEqual(reference(bytes))
      }),
      { numRuns: 5000 },
    )
  })

  it('refuses bytes that are not UTF-8, wherever they stand', () => {
    fc.assert(
      fc.property(spelt, fc.uint8Array({ maxLength: 8 }), fc.nat(), (text, noise, at) => {
        const bytes = Buffer.from(text)
        const index = at % (bytes.length + 1)
        const mixed = Buffer.concat([bytes.subarray(0, index), noise, bytes.subarray(index)])
        expect(outcome(mixed)).toEqual(reference(mixed))
      }),
      { numRuns: 5000 },
    )
  })

  it('takes a value that is exactly at its bounds', () => {
    fc.assert(
      fc.property(spelt, (text) => {
        const value = JSON.parse(text) as unknown
        const { depth, elements, stringBytes } = measure(value)
        // Escapes make a string longer than JSON.stringify would.
        const bounds = {
          maxJsonDepth: depth,
          maxJsonElements: elements,
          maxStringBytes: Math.max(stringBytes, text.length * 4),
        }
        expect(outcome(Buffer.from(text), bounds)).toEqual({ value })
      }),
      { numRuns: 5000 },
    )
  })

  it.each([
    ['depth', 'maxJsonDepth', 'json_too_deep'],
    ['elements', 'maxJsonElements', 'json_too_many_elements'],
    ['stringBytes', 'maxStringBytes', 'json_string_too_long'],
  ] as const)('refuses a value whose %s is one over its bound', (measured, bound, code) => {
    fc.assert(
      fc.property(anyJson, (value) => {
        const text = JSON.stringify(value)
        const size = measure(JSON.parse(text))[measured]
        fc.pre(size > 0)
        expect(outcome(Buffer.from(text), { ...UNBOUNDED, [bound]: size })).toHaveProperty('value')
        expect(outcome(Buffer.from(text), { ...UNBOUNDED, [bound]: size - 1 })).toEqual({ code })
      }),
      { numRuns: 3000 },
    )
  })

  it('counts brackets, commas and quotes inside strings as text', () => {
    const text = JSON.stringify(['[{,"\\]}'.repeat(100)])
    expect(outcome(Buffer.from(text), { ...UNBOUNDED, maxJsonDepth: 1, maxJsonElements: 1 })).toHaveProperty('value')
  })

  it('builds nothing of a body beyond its bounds: a bracket bomb costs its bytes', () => {
    const bytes = Buffer.alloc(4 * 1024 * 1024, '[')
    const before = process.memoryUsage().heapUsed
    for (let round = 0; round < 20; round++)
      expect(outcome(bytes, { ...UNBOUNDED, maxJsonDepth: 64 })).toEqual({ code: 'json_too_deep' })
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(8 * 1024 * 1024)
  })

  it.each([
    ['quotes', '"'],
    ['backslashes', '\\'],
    ['escaped quotes', '\\"'],
    ['backslashes and quotes', '\\\\"'],
    ['commas', ','],
    ['closing brackets', ']'],
    ['empty strings', '"",'],
  ])('looks at each of four million bytes about once: %s', (_name, unit) => {
    const bytes = Buffer.alloc(4 * 1024 * 1024, unit)
    const bounds = { maxJsonDepth: 64, maxJsonElements: 1e9, maxStringBytes: 1e9 }
    const sinceMs = performance.now()
    outcome(Buffer.concat([Buffer.from('["'), bytes]), bounds)
    outcome(bytes, bounds)
    // Once is some 30 ms; were it quadratic, it would be hours.
    expect(performance.now() - sinceMs).toBeLessThan(3000)
  })
})
