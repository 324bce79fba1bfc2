import { decode, refusing, UrlOptions } from '../url/url.ts'

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
  const fail = refusing('The tasks URL', url)
  const [, path = '', query = ''] =
    /^sqlite:([^?#]*)(?:\?([^#]*))?$/.exec(url) ?? fail('is malformed. Write sqlite:path/to/tasks.db.')
  const busyTimeoutMs = new UrlOptions(query, ['busyTimeoutMs'], fail).number('busyTimeoutMs', 0, 999_999) ?? 5000
  if (path === '' || path.startsWith('//'))
    fail('names no file. Write sqlite:path/to/tasks.db, or sqlite:/absolute/path.')
  return { file: decode(path, 'path', fail), busyTimeoutMs }
}
