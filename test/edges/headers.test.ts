import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decodeHeader } from '../../src/kernel/headers.ts'
import { encodeHeader } from './support/messages.ts'

/** What a header value stands for, or `undefined` where it is refused. */
function decoded(value: string): string | undefined {
  try {
    return decodeHeader(value, 'Mcp-Name')
  } catch (error) {
    expect(error).toMatchObject({ code: 'header_mismatch', message: expect.stringContaining('Mcp-Name') })
    return undefined
  }
}
const text = fc.string({ unit: 'binary' }).filter((value) => value.isWellFormed())
const base64 = (value: string | Uint8Array): string => Buffer.from(value as string).toString('base64')

describe('a header value', () => {
  it('carries any text there and back', () => {
    fc.assert(
      fc.property(fc.oneof(text, fc.string({ unit: 'grapheme' }), fc.string()), (value) => {
        fc.pre(value.isWellFormed())
        expect(decoded(encodeHeader(value))).toBe(value)
        expect(decoded(`=?base64?${base64(value)}?=`)).toBe(value)
      }),
      { numRuns: 3000 },
    )
  })

  it('of visible characters is what it says', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[\t\x20-\x7e]*$/), (value) => {
        fc.pre(!value.startsWith('=?base64?'))
        expect(decoded(value)).toBe(value)
      }),
      { numRuns: 2000 },
    )
  })

  it('with any other character is refused', () => {
    fc.assert(
      fc.property(
        fc.stringMatching(/^[\x21-\x7e]{0,10}$/),
        fc.integer({ min: 0, max: 0xff }).filter((code) => code !== 9 && (code < 0x20 || code > 0x7e)),
        fc.nat(),
        (value, code, at) => {
          const index = at % (value.length + 1)
          expect(decoded(value.slice(0, index) + String.fromCharCode(code) + value.slice(index))).toBeUndefined()
        },
      ),
      { numRuns: 2000 },
    )
  })

  it('in base64 has one spelling alone: whatever else decodes to the same is refused', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'grapheme', minLength: 1 }),
        fc.nat(),
        fc.constantFrom('=', ' ', '\t', '-', '_', ''),
        (value, at, noise) => {
          fc.pre(value.isWellFormed())
          const spelling = base64(value)
          const index = at % spelling.length
          const other = spelling.slice(0, index) + noise + spelling.slice(index + (noise === '' ? 1 : 0))
          fc.pre(other !== spelling)
          const found = decoded(`=?base64?${other}?=`)
          // Taking a character away can leave the base64 of another text, never of the same.
          if (found !== undefined) expect(base64(found)).toBe(other)
          expect(found).not.toBe(value)
        },
      ),
      { numRuns: 2000 },
    )
  })

  it('in base64 of bytes is refused unless they are UTF-8', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 12 }), (bytes) => {
        const isUtf8 = Buffer.from(Buffer.from(bytes).toString('utf8')).equals(bytes)
        const found = decoded(`=?base64?${base64(bytes)}?=`)
        expect(found).toBe(isUtf8 ? Buffer.from(bytes).toString('utf8') : undefined)
      }),
      { numRuns: 3000 },
    )
  })

  it.each([
    '=?base64?',
    '?=',
    '=?base64?=',
    '=?base64?YQ==',
    'YQ==?=',
    '=?BASE64?YQ==?=',
    '=?base64 ?YQ==?=',
    '=?utf-8?b?YQ==?=',
  ])('that only looks like base64 is literal: %s', (value) => expect(decoded(value)).toBe(value))
})
