/** The file that keeps a run: machine, versions, every round. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Budget, SectionReport } from './context.ts'
import type { Machine } from './machine.ts'

/** Where runs leave their files. */
export const resultsDir = fileURLToPath(new URL('../results/', import.meta.url))

/** One run. */
export interface Results {
  /** ISO 8601; it also names the file. */
  startedAt: string
  machine: Machine
  /** Versions of the packages measured beside Holdfast. */
  versions: Readonly<Record<string, string>>
  budget: Budget
  sections: SectionReport[]
}

/** Writes `bench/results/<start>.json` (again after each section: what was measured is kept if the run ends early). */
export function writeResults(results: Results): string {
  mkdirSync(resultsDir, { recursive: true })
  const path = join(resultsDir, `${results.startedAt.slice(0, 19).replaceAll(':', '-')}.json`)
  writeFileSync(path, `${JSON.stringify(results, undefined, 2)}\n`)
  return path
}
