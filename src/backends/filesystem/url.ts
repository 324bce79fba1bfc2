import { decode, refusing } from '../url/url.ts'

/** Whether a URL asks for this backend. */
export const isFileUrl = (url: string): boolean => url.startsWith('file:')

/**
 * Reads `file:path/to/folder` (from the working directory), `file:/absolute/folder` or `file:///absolute/folder`. The path is
 * percent-encoded where it holds `%`, `?` or `#`.
 * @returns the folder
 * @throws {HoldfastError} `invalid_option` that says what is wrong.
 */
export function parseFileUrl(url: string): string {
  const fail = refusing('The artifacts URL', url)
  const [, path = ''] =
    /^file:(?:\/\/(?=\/))?([^?#]*)$/.exec(url) ?? fail('is malformed. Write file:path/to/folder; it takes no options.')
  if (path === '' || path.startsWith('//'))
    fail('names no folder. Write file:path/to/folder, or file:/absolute/folder.')
  return decode(path, 'path', fail)
}
