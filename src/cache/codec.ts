import { HoldfastError } from '../errors/holdfast-error.ts'

/**
 * What may be done with a value: `value`, it is kept; `failure`, it is kept for `negativeTtlMs`; `shared`, it is given to those
 * who wait for it, and not kept; `own`, it is for who computed it alone, and the others compute for themselves.
 */
export type Keeping = 'value' | 'failure' | 'shared' | 'own'

/** How values of one kind become bytes, and come back. */
export interface Codec<T> {
  /** @throws for what can't be kept */
  encode(value: T): Uint8Array
  /** Must not keep the bytes. */
  decode(bytes: Uint8Array): T
  /** Values can't be changed, so that one may be given to many. Default: each caller gets one of its own. */
  readonly isShareable?: boolean
  /** Compression gains nothing. Default false. */
  readonly isDense?: boolean
  /** Default: every value is kept. */
  keepingOf?(value: T): Keeping
}

const JSON_VALUE = 0
const BYTES = 1
const UNDEFINED = 2

/** Whatever JSON can say, bytes, and `undefined`. */
export const anyCodec: Codec<unknown> = {
  encode(value) {
    if (value === undefined) return Uint8Array.of(UNDEFINED)
    if (value instanceof Uint8Array) return Buffer.concat([Buffer.of(BYTES), value])
    let text: string | undefined
    try {
      text = JSON.stringify(value)
    } catch (cause) {
      throw new HoldfastError('invalid_cache', "The value to be cached is one that JSON can't say.", { cause })
    }
    if (text === undefined)
      throw new HoldfastError('invalid_cache', `The value to be cached is a ${typeof value}, which JSON can't say.`)
    const bytes = Buffer.allocUnsafe(1 + Buffer.byteLength(text))
    bytes[0] = JSON_VALUE
    bytes.write(text, 1)
    return bytes
  },
  decode(bytes) {
    if (bytes[0] === UNDEFINED) return undefined
    if (bytes[0] === BYTES) return new Uint8Array(bytes.subarray(1))
    return JSON.parse(textOf(bytes.subarray(1)))
  },
}

/** Texts. */
export const textCodec: Codec<string> = {
  encode: (text) => Buffer.from(text),
  decode: textOf,
  isShareable: true,
}

/** Bytes as UTF-8. */
export function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString()
}
