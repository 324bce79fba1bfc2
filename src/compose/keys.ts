import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { HoldfastError } from '../errors/holdfast-error.ts'
import { createKeyRing, generateKeys, type KeyRing } from '../kernel/key-ring.ts'

/**
 * The key ring of a runtime: as given; else the one in the data folder, made there once; else one that ends with the process.
 * @param isShared whether other nodes must open what this one seals: then the ring must be given.
 * @throws {HoldfastError} `invalid_option` for a malformed or missing ring, or a data folder that can't be written.
 */
export function openKeyRing(keys: string | undefined, dataDir: string | false, isShared: boolean): KeyRing {
  if (keys !== undefined) return createKeyRing(keys)
  if (isShared)
    throw new HoldfastError(
      'invalid_option',
      'State or tasks are shared by several processes, so each must have the same keys: set HOLDFAST_KEYS to what `holdfast keys generate` prints.',
    )
  if (dataDir === false) return createKeyRing(generateKeys())
  const file = join(dataDir, 'keys')
  try {
    mkdirSync(dataDir, { recursive: true })
    // Exclusive: of two processes that start at once, one makes the ring and both read it.
    writeFileSync(file, generateKeys(), { flag: 'wx', mode: 0o600 })
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST')
      throw new HoldfastError(
        'invalid_option',
        `The data folder ${JSON.stringify(dataDir)} can't be written (${(cause as NodeJS.ErrnoException).code ?? String(cause)}). Choose another with HOLDFAST_DATA_DIR, or set HOLDFAST_KEYS.`,
        { cause },
      )
  }
  return createKeyRing(readFileSync(file, 'utf8').trim())
}
