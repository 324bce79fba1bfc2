import type { SweepReport } from '../../ports/task-store.ts'

/** What a sweep has done to one task, or found of it. */
export interface SweptRow {
  kind: 'expired' | 'lost' | 'woken' | 'overdue'
  id: string
  queue: string
  /** Where its owner can see the change. */
  version: number | null
}

/** The report of a sweep from its rows. */
export function toReport(rows: readonly SweptRow[], purged: number): SweepReport {
  const count = (kind: SweptRow['kind']): number => rows.filter((row) => row.kind === kind).length
  const rings = Map.groupBy(
    rows.filter(({ kind }) => kind === 'woken' || kind === 'overdue'),
    ({ queue }) => queue,
  )
  return {
    woken: count('woken'),
    expired: count('expired'),
    lost: count('lost'),
    purged,
    rings: [...rings].map(([queue, group]) => ({ queue, ids: group.map(({ id }) => id) })),
    changed: rows.flatMap(({ id, version }) => (version === null ? [] : [{ id, version }])),
  }
}
