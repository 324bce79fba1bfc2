import { hash } from 'node:crypto'

/** SHA-256 of some texts, in base64url; the texts are kept apart. */
export function sha256(parts: readonly string[]): string {
  return hash('sha256', JSON.stringify(parts), 'base64url')
}

/** JSON with sorted keys, so that equal values have equal digests. */
export function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  )
}
