import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, vi } from 'vitest'

/** A line of the log, as JSON has it. */
export type Line = { level: number; time: number; msg: string } & Record<string, unknown>

/** A log in a file of its own. */
export interface LogFile {
  readonly fd: number
  /** All that was written. */
  text(): string
  /** Every line, parsed. @throws where one is not JSON, or the last has no end. */
  lines(): Line[]
  /** Waits until a line fits. */
  line(fits: (line: Line) => boolean): Promise<Line>
  /** Waits until so many lines fit, then looks once more whether there are more. */
  all(count: number, fits?: (line: Line) => boolean): Promise<Line[]>
}

const folder = mkdtempSync(join(tmpdir(), 'holdfast-log-'))
const open: number[] = []
afterAll(() => {
  for (const fd of open) closeSync(fd)
  rmSync(folder, { recursive: true })
})

export function createLogFile(): LogFile {
  const path = join(folder, `${open.length}.log`)
  const fd = openSync(path, 'a')
  open.push(fd)
  const text = (): string => readFileSync(path, 'utf8')
  const lines = (): Line[] => {
    const written = text()
    if (written !== '' && !written.endsWith('\n')) throw new Error('The last line has no end.')
    return written
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Line)
  }
  return {
    fd,
    text,
    lines,
    line: (fits) =>
      vi.waitFor(() => {
        const line = lines().find(fits)
        if (line === undefined) throw new Error(`No such line among:\n${text()}`)
        return line
      }),
    async all(count, fits = () => true) {
      const found = await vi.waitFor(() => {
        const fitting = lines().filter(fits)
        if (fitting.length < count) throw new Error(`${fitting.length} of ${count} lines in:\n${text()}`)
        return fitting
      })
      return found
    },
  }
}
