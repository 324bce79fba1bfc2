/*
 * An embedding as bytes: two numbers on what it cost, then the vector, all float32 in little-endian order. That is what
 * embedding models compute with, half the size of doubles, and a fifth of JSON.
 */
import { endianness } from 'node:os'

/** An embedding, and its part of what its batch cost. */
export interface KeptVector {
  readonly vector: number[]
  readonly tokens: number
  readonly ms: number
}

const HEAD_FLOATS = 2
const FLOAT_BYTES = Float32Array.BYTES_PER_ELEMENT
const isLittle = endianness() === 'LE'

/** The nearest float32 of each number: what {@link fromVectorBytes} gives back, so that an embedding is the same, cached or not. */
export function toFloat32(vector: readonly number[]): number[] {
  return vector.map(Math.fround)
}

export function toVectorBytes({ vector, tokens, ms }: KeptVector): Uint8Array {
  const bytes = Buffer.from(Float32Array.of(tokens, ms, ...vector).buffer)
  return isLittle ? bytes : bytes.swap32()
}

/** @throws {RangeError} where the bytes are no embedding. */
export function fromVectorBytes(bytes: Uint8Array): KeptVector {
  if (bytes.byteLength % FLOAT_BYTES !== 0 || bytes.byteLength <= HEAD_FLOATS * FLOAT_BYTES)
    throw new RangeError(`${bytes.byteLength} bytes are no embedding.`)
  // A copy: floats must begin at a multiple of four, and bytes of a cache are not for changing.
  const copy = new Uint8Array(bytes)
  if (!isLittle) Buffer.from(copy.buffer).swap32()
  const floats = new Float32Array(copy.buffer)
  const vector = Array.from(floats.subarray(HEAD_FLOATS))
  return { vector, tokens: floats[0]!, ms: floats[1]! }
}
