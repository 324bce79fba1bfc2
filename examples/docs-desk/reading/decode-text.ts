const BYTE_ORDER_MARKS: [encoding: string, mark: number[]][] = [
  ['utf-8', [0xef, 0xbb, 0xbf]],
  ['utf-16le', [0xff, 0xfe]],
  ['utf-16be', [0xfe, 0xff]],
]

/**
 * Turns the bytes of a text file into text with `\n` line ends and no control characters but tab and newline.
 * In this order: the byte order mark, UTF-8 if the bytes are valid, `declared` (an HTML charset), windows-1252, which is
 * what browsers assume and what can decode anything.
 *
 * @throws {Error} if the bytes are no text.
 */
export function decodeText(bytes: Uint8Array, declared?: string): string {
  const marked = BYTE_ORDER_MARKS.find(([, mark]) => mark.every((byte, index) => bytes[index] === byte))
  if (marked) return tidy(new TextDecoder(marked[0]).decode(bytes))
  if (bytes.includes(0)) throw new Error('It is not text: it holds zero bytes. Save it as UTF-8.')
  try {
    return tidy(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (error) {
    if (!(error instanceof TypeError)) throw error
  }
  return tidy(decoderFor(declared).decode(bytes))
}

function decoderFor(declared: string | undefined): TextDecoder {
  try {
    if (declared && !/^utf-?8$/i.test(declared)) return new TextDecoder(declared)
  } catch (error) {
    // An encoding that nobody knows is as good as none.
    if (!(error instanceof RangeError)) throw error
  }
  return new TextDecoder('windows-1252')
}

/** Line ends become `\n`; control characters and stray byte order marks go; lone surrogates become U+FFFD. */
export function tidy(text: string): string {
  return text
    .replace(/\r\n?/g, '\n')
    .replace(/[\u0000-\u0008\u000b-\u001f\u007f\ufeff]/g, '')
    .toWellFormed()
}
