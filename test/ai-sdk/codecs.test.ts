import fc from 'fast-check'
import { describe, expect, it, test } from 'vitest'
import { fromBytes, toBytes } from '../../src/ai-sdk/model-json.ts'
import { fromVectorBytes, toFloat32, toVectorBytes } from '../../src/ai-sdk/vectors.ts'

describe('answers of models as bytes', () => {
  const back = (value: unknown): unknown => fromBytes(toBytes(value))

  it('come back with their dates, URLs and bytes', () => {
    const answer = {
      at: new Date(1_700_000_000_000),
      parts: [{ data: Uint8Array.of(0, 255, 7), url: new URL('https://example.com/a?b#c') }],
      raw: undefined,
    }
    expect(back(answer)).toEqual(answer)
  })

  it('come back whatever they hold, also the mark that dates are known by', () => {
    expect(back({ $holdfast: 'date', value: 5 })).toEqual({ $holdfast: 'date', value: 5 })
    expect(back({ a: [{ $holdfast: { $holdfast: 'bytes', value: 'AA==' } }] })).toEqual({
      a: [{ $holdfast: { $holdfast: 'bytes', value: 'AA==' } }],
    })
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(back(value)).toEqual(JSON.parse(JSON.stringify(value)))
      }),
      { numRuns: 300 },
    )
  })
})

describe('embeddings as bytes', () => {
  test('come back as float32, with what they cost', () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ noNaN: true, min: -1e6, max: 1e6 }), { minLength: 1 }),
        fc.nat(100_000),
        (vector, tokens) => {
          const kept = toVectorBytes({ vector, tokens, ms: 12.5 })
          expect(kept.byteLength).toBe(4 * (vector.length + 2))
          expect(fromVectorBytes(kept)).toEqual({ vector: toFloat32(vector), tokens, ms: 12.5 })
        },
      ),
    )
  })

  it('may begin anywhere in a buffer', () => {
    const bytes = toVectorBytes({ vector: [1, -2], tokens: 3, ms: 4 })
    const shifted = new Uint8Array(bytes.byteLength + 1)
    shifted.set(bytes, 1)
    expect(fromVectorBytes(shifted.subarray(1)).vector).toEqual([1, -2])
  })

  it('are little-endian, so that nodes of another kind read them', () => {
    expect(Buffer.from(toVectorBytes({ vector: [1], tokens: 0, ms: 0 })).toString('hex', 8)).toBe('0000803f')
  })

  it.each([0, 8, 10])('are not %i bytes', (length) => {
    expect(() => fromVectorBytes(new Uint8Array(length))).toThrow(`${length} bytes are no embedding`)
  })
})
