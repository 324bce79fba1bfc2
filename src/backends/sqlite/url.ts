import { HoldfastError } from '../../errors/holdfast-error.ts'

/** A database file, as its URL names it. */
export interface SqliteAddress {
  /** Path, absolute or from the working directory; `:memory:` for none, which ends with the store. */
  readonly file: string
  /** How long a write waits for those of other processes. */
  readonly busyTimeoutMs: number
}

/** Whether a URL asks for this backend. */
export const isSqliteUrl = (url: string): boolean => url.startsWith('sqlite:')

/**
 * Reads `sqlite:path/to/tasks.db`, `sqlite:/absolute/tasks.db` or `sqlite::memory:`, with `?busyTimeoutMs=5000` behind it.
 * The path is percent-encoded where it holds `%`, `?` or `#`.
 *
 * @throws {HoldfastError} `invalid_option` that says what is wrong.
 */
export function parseSqliteUrl(url: string): SqliteAddress {
  const fail = (problem: string): never => {
    throw new HoldfastError('invalid_option', `The tasks URL ${url} ${problem}`)
  }
  const [, path = '', query = ''] =
    /^sqlite:([^?#]*)(?:\?([^#]*))?$/.exec(url) ?? fail('is malformed. Write sqlite:path/to/tasks.db.')
  let busyTimeoutMs = 5000
  for (const pair of query.split('&').filter((text) => text !== '')) {
    const [name = '', value = ''] = pair.split(/=(.*)/s)
    if (name !== 'busyTimeoutMs') fail(`has the option ${JSON.stringify(name)}; there is busyTimeoutMs.`)
    busyTimeoutMs = Number(value)
    if (!/^\d{1,6}$/.test(value)) fail(`has busyTimeoutMs=${value}; it must be a whole number of milliseconds.`)
  }
  if (path === '' || path.startsWith('//'))
    fail('names no file. Write sqlite:path/to/tasks.db, or sqlite:/absolute/path.')
  try {
    return { file: decodeURIComponent(path), busyTimeoutMs }
  } catch {
    return fail('has a path that is not percent-encoded as it should be: a "%" is written %25.')
  }
}
