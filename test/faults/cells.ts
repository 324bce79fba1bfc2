// What is expected: the table of docs/failures.md as data. A feature that a backend does not name goes on as if nothing were.
import type { FeatureName } from './features.ts'
import type { FaultName } from './faults.ts'

/** What a use of a feature comes to, where its backend is gone. */
export type Expected =
  /** As ever. */
  | 'works'
  /** Nothing is refused; what has begun ends once the backend is back. */
  | 'waits'
  /** Refused with this code. */
  | { readonly fails: string }

/** What is expected of one feature. */
export interface Cell {
  /** While the backend refuses connections, or swallows all. */
  readonly gone: Expected
  /** While it answers late. Default: it works. */
  readonly slow?: Expected
  /** Uses that had begun when it went go on, and succeed once it is back. Default: they may be refused like the others. */
  readonly goesOn?: boolean
  /** No use takes longer. Default: 2.5 s where it works, else what the backend's time-outs come to. */
  readonly withinMs?: number
  /** In the docs' table, in place of what `gone` says. */
  readonly words?: string
}

/** What is expected of a backend's features, as its stand is set up. */
export interface Expectations {
  /** No use of a feature takes longer while the backend is gone: its time-outs, one after the other, and a little for the machine. */
  readonly boundMs: number
  /** No use takes longer while it is slow. */
  readonly slowMs: number
  /** After so long at the latest everything is as before, by itself. */
  readonly recoverMs: number
  /** Connections that both nodes together may try in a second, once the fault is noticed, and as it ends. */
  readonly attemptsPerSecond: number
  readonly cells: Partial<Record<FeatureName, Cell>>
}

const WORKS: Cell = { gone: 'works' }

/** The cell of a feature. */
export const cellOf = (feature: FeatureName, { cells }: Expectations): Cell => cells[feature] ?? WORKS

/** What a use may come to during a fault, beside `ok`, and whether it may come to `ok`. */
export function allowedIn(
  cell: Cell,
  fault: FaultName,
): { readonly codes: readonly string[]; readonly mayWork: boolean } {
  const expected = fault === 'slow' ? (cell.slow ?? 'works') : cell.gone
  if (typeof expected === 'string') return { codes: [], mayWork: true }
  return { codes: [expected.fails], mayWork: fault === 'flapping' }
}

/** What the docs' table says of a cell. */
export const wordsOf = ({ gone, words }: Cell): string =>
  words ?? (typeof gone === 'string' ? gone : `\`${gone.fails}\``)
