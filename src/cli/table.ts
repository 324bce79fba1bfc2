/** Columns of a table, with their heads. */
export type Columns<Row> = readonly (readonly [head: string, cell: (row: Row) => string])[]

/** Tasks hold what clients and handlers wrote: nothing of it may steer the terminal. */
export const printable = (text: string): string => text.replaceAll(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, '·')

/**
 * Rows under their heads. The last column is cut where the line would be longer than `width`.
 * @param width characters of a line; `undefined`: as long as it gets
 */
export function table<Row>(columns: Columns<Row>, rows: readonly Row[], width: number | undefined): string {
  const lines = [columns.map(([head]) => head), ...rows.map((row) => columns.map(([, cell]) => printable(cell(row))))]
  const widths = columns.map((_, column) => Math.max(...lines.map((cells) => cells[column]!.length)))
  return lines
    .map((cells) => {
      const line = cells.map((cell, column) => cell.padEnd(widths[column]!)).join('  ').trimEnd() // prettier-ignore
      return width !== undefined && line.length > width ? `${line.slice(0, width - 1)}…` : line
    })
    .map((line) => `${line}\n`)
    .join('')
}

/** How long ago something was, in its biggest unit. */
export function age(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000))
  if (seconds < 60) return `${seconds}s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m`
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)}h`
  return `${Math.floor(seconds / 86_400)}d`
}
