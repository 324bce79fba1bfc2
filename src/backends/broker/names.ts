import { createHash } from 'node:crypto'

/**
 * A queue's name as a broker takes it: letters, digits and "-" stay, every other byte becomes "_" and two hexadecimal digits.
 * No two queues get the same name. A name that would be longer than `maxLength` ends in "__" and a hash.
 */
export function safeName(queue: string, maxLength: number): string {
  const bytes = Buffer.from(queue)
  let name = ''
  for (const byte of bytes) {
    const letter = String.fromCodePoint(byte)
    name += /[A-Za-z0-9-]/.test(letter) ? letter : `_${byte.toString(16).padStart(2, '0')}`
  }
  if (name.length <= maxLength) return name
  const hash = createHash('sha256').update(bytes).digest('hex').slice(0, 32)
  return `${name.slice(0, maxLength - hash.length - 2)}__${hash}`
}
