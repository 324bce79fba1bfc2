import { createHash } from 'node:crypto'
import { withoutMarkup } from '../search/words.ts'

/** What is embedded for a passage: where it stands, then what it says. */
export function embeddingText(title: string, headingPath: readonly string[], text: string): string {
  const path = headingPath[0] === title ? headingPath : [title, ...headingPath]
  return `${path.join(' > ')}\n${withoutMarkup(text)}`
}

/** SHA-256, in hexadecimal. */
export function sha256(...parts: (string | Uint8Array)[]): string {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return hash.digest('hex')
}
