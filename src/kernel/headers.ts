import { isUtf8 } from 'node:buffer'
import { HoldfastError } from '../errors/holdfast-error.ts'

const PREFIX = '=?base64?'
const SUFFIX = '?='
const NOT_VISIBLE = /[^\t\x20-\x7e]/

/**
 * A header value as the client meant it: `=?base64?…?=` holds UTF-8 that headers can't carry as it is (MCP 2026-07-28,
 * streamable HTTP). With only one of the two markers the text is literal.
 * @throws {HoldfastError} `header_mismatch` for characters that headers may not hold, base64 that is not strict, or not UTF-8.
 */
export function decodeHeader(text: string, name: string): string {
  if (NOT_VISIBLE.test(text))
    throw new HoldfastError(
      'header_mismatch',
      `The header ${name} holds characters outside visible ASCII; write it as =?base64?…?=.`,
    )
  if (!text.startsWith(PREFIX) || !text.endsWith(SUFFIX) || text.length < PREFIX.length + SUFFIX.length) return text
  const encoded = text.slice(PREFIX.length, -SUFFIX.length)
  const bytes = Buffer.from(encoded, 'base64')
  if (bytes.toString('base64') !== encoded || !isUtf8(bytes))
    throw new HoldfastError('header_mismatch', `The header ${name} is not valid base64 of UTF-8.`)
  return bytes.toString()
}
