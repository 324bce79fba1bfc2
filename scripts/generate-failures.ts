// Writes the table of docs/failures.md from what `npm run test:faults` expects: `npm run docs:failures`.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { format, resolveConfig } from 'prettier'
import { BACKENDS } from '../test/faults/backends/index.ts'
import { cellOf, wordsOf } from '../test/faults/cells.ts'
import { FEATURE_NAMES, FEATURES } from '../test/faults/features.ts'

const FILE = join(import.meta.dirname, '../docs/failures.md')
const TABLE = /(<!-- Generated [^>]*-->\n)[\s\S]*?(<!-- end of the table -->)/

/** The table as it should be. */
export function renderTable(): string {
  const backends = Object.values(BACKENDS)
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  return [
    line(['What', ...backends.map(({ label }) => label)]),
    line(['---', ...backends.map(() => '---')]),
    ...FEATURE_NAMES.map((name) =>
      line([FEATURES[name].label, ...backends.map((backend) => wordsOf(cellOf(name, backend)))]),
    ),
  ].join('\n')
}

/** The page as it should be. */
export async function renderFailures(): Promise<string> {
  const page = readFileSync(FILE, 'utf8')
  if (!TABLE.test(page)) throw new Error(`${FILE} has no place for the table.`)
  const fresh = page.replace(TABLE, (_, begin: string, end: string) => `${begin}\n${renderTable()}\n\n${end}`)
  return format(fresh, { ...(await resolveConfig(FILE)), parser: 'markdown' })
}

if (import.meta.main) writeFileSync(FILE, await renderFailures())
