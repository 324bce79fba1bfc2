/** Plain-text tables and numbers for the terminal. */
import type { Spread } from './stats.ts'

/** Lays rows out in columns: the first to the left, the others to the right. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows]
  const widths = head.map((_, column) => Math.max(...all.map((row) => (row[column] ?? '').length)))
  const line = (row: readonly string[]): string =>
    widths
      .map((width, column) => (column === 0 ? (row[column] ?? '').padEnd(width) : (row[column] ?? '').padStart(width)))
      .join('  ')
      .trimEnd()
  return [line(head), widths.map((width) => '-'.repeat(width)).join('  '), ...rows.map(line)].join('\n')
}

/** `12,345`. */
export function whole(value: number): string {
  return Math.round(value).toLocaleString('en-US')
}

/** `0.87 (0.85–0.90)`. */
export function ratio({ median, min, max }: Spread): string {
  return `${median.toFixed(2)} (${min.toFixed(2)}–${max.toFixed(2)})`
}

/** Microseconds as milliseconds: `1.23`. */
export function milliseconds(microseconds: number): string {
  return (microseconds / 1000).toFixed(2)
}

/** Bytes as MiB: `83`. */
export function mebibytes(bytes: number): string {
  return (bytes / 1024 / 1024).toFixed(0)
}

/** Bytes as KiB: `12.3`. */
export function kibibytes(bytes: number): string {
  return (bytes / 1024).toFixed(1)
}
