import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { HoldfastError } from '../errors/holdfast-error.ts'
import { takeRandom } from './random.ts'

/**
 * Keys that seal what clients hold for us (AES-256-GCM). The first key seals, every key opens, so keys rotate: put the new
 * one first, and drop the old one when everything sealed with it has expired.
 */
export interface KeyRing {
  /** Encrypts and authenticates; `purpose` is authenticated too, so a seal made for one purpose does not open for another. */
  seal(plain: Uint8Array, purpose: string): string
  /** `undefined` where the text is not a seal of this ring for this purpose. */
  open(sealed: string, purpose: string): Buffer | undefined
}

const NONCE_BYTES = 12
const TAG_BYTES = 16

/**
 * @param spec `id:base64,id:base64` with 32-byte keys and ids of 1–8 letters or digits (`HOLDFAST_KEYS`).
 * @throws {HoldfastError} `invalid_option` for a malformed ring.
 */
export function createKeyRing(spec: string): KeyRing {
  const keys = new Map<string, Buffer>()
  for (const entry of spec.split(',')) {
    const match = /^\s*([A-Za-z0-9]{1,8}):([A-Za-z0-9+/_-]+={0,2})\s*$/.exec(entry)
    const key = Buffer.from(match?.[2] ?? '', 'base64')
    if (match === null || key.length !== 32)
      throw new HoldfastError(
        'invalid_option',
        'HOLDFAST_KEYS holds an entry that is not `id:base64` of 32 bytes. Make one with: holdfast keys generate',
      )
    if (keys.has(match[1]!))
      throw new HoldfastError(
        'invalid_option',
        `HOLDFAST_KEYS names the key "${match[1]!}" twice. Give each key its own id.`,
      )
    keys.set(match[1]!, key)
  }
  const [sealId, sealKey] = keys.entries().next().value!
  return {
    seal(plain, purpose) {
      const nonce = takeRandom(NONCE_BYTES)
      const cipher = createCipheriv('aes-256-gcm', sealKey, nonce).setAAD(Buffer.from(purpose))
      const sealed = Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()])
      return `${sealId}.${sealed.toString('base64url')}`
    },
    open(sealed, purpose) {
      const dot = sealed.indexOf('.')
      const key = keys.get(sealed.slice(0, dot))
      const text = sealed.slice(dot + 1)
      const bytes = Buffer.from(text, 'base64url')
      // Node reads base64 leniently; a seal has one spelling.
      if (key === undefined || bytes.length < NONCE_BYTES + TAG_BYTES || bytes.toString('base64url') !== text)
        return undefined
      const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, NONCE_BYTES))
        .setAAD(Buffer.from(purpose))
        .setAuthTag(bytes.subarray(-TAG_BYTES))
      try {
        return Buffer.concat([decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()])
      } catch {
        return undefined // tampered with, or not ours
      }
    },
  }
}

/** A fresh ring of one key, as text. @param id 1–8 letters or digits, another for each key of a ring. */
export function generateKeys(id = 'k1'): string {
  return `${id}:${randomBytes(32).toString('base64')}`
}
