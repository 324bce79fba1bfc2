import type { KeyRing } from '../kernel/key-ring.ts'

/** For so long a link to a download is good. */
export const LINK_TTL_MS = 15 * 60_000
const PURPOSE = 'artifact'

/** What ends the path of a download: the key and its expiry, sealed. Whoever has it may read the artifact until then. */
export function sealLink(keys: KeyRing, key: string, expiresMs: number): string {
  return keys.seal(Buffer.from(JSON.stringify([key, expiresMs])), PURPOSE)
}

/** The key that a link stands for; `undefined` where it was not made here, or its time is up. */
export function openLink(keys: KeyRing, sealed: string, nowMs: number): string | undefined {
  const plain = keys.open(sealed, PURPOSE)
  if (plain === undefined) return undefined
  const [key, expiresMs] = JSON.parse(plain.toString()) as [string, number]
  return nowMs < expiresMs ? key : undefined
}
