import { HoldfastError } from '../../errors/holdfast-error.ts'

/** Whether a URL asks for this backend. */
export const isFileUrl = (url: string): boolean => url.startsWith('file:')

/**
 * Reads `file:path/to/folder` (from the working directory), `file:/absolute/folder` or `file:///absolute/folder`. The path is
 * percent-encoded where it holds `%`, `?` or `#`.
 * @returns the folder
 * @throws {HoldfastError} `invalid_option` that says what is wrong.
 */
export function parseFileUrl(url: string): string {
  const fail = (problem: string): never => {
    throw new HoldfastError('invalid_option', `The artifacts URL ${url} ${problem}`)
  }
  const [, path = ''] =
    /^file:(?:\/\/(?=\/))?([^?#]*)$/.exec(url) ?? fail('is malformed. Write file:path/to/folder; it takes no options.')
  if (path === '' || path.startsWith('//'))
    fail('names no folder. Write file:path/to/folder, or file:/absolute/folder.')
  try {
    return decodeURIComponent(path)
  } catch {
    return fail('has a path that is not percent-encoded as it should be: a "%" is written %25.')
  }
}
