import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createKeyRing, generateKeys } from '../../src/kernel/key-ring.ts'

const ring = createKeyRing(generateKeys())
const bytes = fc.uint8Array({ maxLength: 64 }).map((value) => Buffer.from(value))
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'

describe('a seal', () => {
  it('opens to what was sealed, for its purpose alone', () => {
    fc.assert(
      fc.property(bytes, (plain) => {
        const sealed = ring.seal(plain, 'one')
        expect(ring.open(sealed, 'one')).toEqual(plain)
        expect(ring.open(sealed, 'other')).toBeUndefined()
        expect(createKeyRing(generateKeys()).open(sealed, 'one')).toBeUndefined()
      }),
      { numRuns: 200 },
    )
  })

  it('has one spelling: any character changed, added or taken away, and it does not open', () => {
    fc.assert(
      fc.property(
        bytes,
        fc.nat(),
        fc.oneof(fc.constantFrom(...ALPHABET), fc.constantFrom('=', '!', ' ', '.', '+', '/', '\n', 'é', '')),
        fc.boolean(),
        (plain, at, character, isAdded) => {
          const sealed = ring.seal(plain, 'one')
          const index = at % (sealed.length + 1)
          const other = sealed.slice(0, index) + character + sealed.slice(index + (isAdded ? 0 : 1))
          fc.pre(other !== sealed)
          expect(ring.open(other, 'one')).toBeUndefined()
        },
      ),
      { numRuns: 5000 },
    )
  })

  it('does not open what was never sealed', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ unit: 'binary' }),
          fc.base64String(),
          fc.string().map((text) => `k1.${text}`),
        ),
        (text) => {
          expect(ring.open(text, 'one')).toBeUndefined()
        },
      ),
      { numRuns: 3000 },
    )
  })
})
