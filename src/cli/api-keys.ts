import { existsSync, renameSync, writeFileSync } from 'node:fs'
import { checkEntries, createApiKey, readApiKeys, type ApiKeyEntry } from '../auth/api-keys.ts'
import { HoldfastError } from '../errors/holdfast-error.ts'

/** Flags of `holdfast api-keys create`. */
export interface ApiKeyFlags {
  subject: string
  tenant?: string
  scopes?: string[]
  days?: number
  file?: string
  json?: boolean
}

const DAY_MS = 24 * 3_600_000

/**
 * `holdfast api-keys create`: makes a key, keeps its hash, and prints it, which nobody can do again.
 * @throws {HoldfastError} `invalid_option` where the file is none of API keys, or can't be written.
 */
export function createKey({ subject, tenant, scopes, days, file, json }: ApiKeyFlags): void {
  const { key, entry } = createApiKey({
    subject,
    ...(tenant === undefined ? {} : { tenant }),
    ...(scopes === undefined ? {} : { scopes }),
    ...(days === undefined ? {} : { expiresAt: new Date(Date.now() + days * DAY_MS).toISOString() }),
  })
  if (file !== undefined) append(file, entry)
  process.stdout.write(json === true ? `${JSON.stringify({ key, entry })}\n` : told(key, entry, file))
}

/** Written beside the file first: a server that looks meanwhile must not find half of it. */
function append(file: string, entry: ApiKeyEntry): void {
  const entries = existsSync(file) ? checkEntries(readApiKeys(file)) : []
  const draft = `${file}.${process.pid}.tmp`
  try {
    writeFileSync(draft, `${JSON.stringify([...entries, entry], undefined, 2)}\n`, { mode: 0o600 })
    renameSync(draft, file)
  } catch (cause) {
    throw new HoldfastError('invalid_option', `The file of API keys ${file} can't be written.`, { cause })
  }
}

function told(key: string, entry: ApiKeyEntry, file: string | undefined): string {
  const kept =
    file === undefined
      ? `Keep this entry in the file that HOLDFAST_API_KEYS names, inside its array:\n\n  ${JSON.stringify(entry)}\n`
      : `Its hash is in ${file}. To take the key back, remove the entry ${entry.id}.\n`
  return `\n  ${key}\n\nThis is the key; it is shown this once.\n${kept}`
}
