/** One line on stderr that says what is going on; it is rewritten in place on a terminal. */
const rewrites = process.stderr.isTTY

export function progress(text: string): void {
  process.stderr.write(rewrites ? `\r\u001b[2K${text}` : `${text}\n`)
}

/** Clears the line before something else is printed. */
export function clearProgress(): void {
  if (rewrites) process.stderr.write('\r\u001b[2K')
}
