/** Bounds in seconds that the MCP semantic conventions ask for. */
export const DURATION_BUCKETS_SECONDS: readonly number[] = [
  0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300,
]

/** A counter or histogram cell for one set of labels. */
export interface HistogramCell {
  readonly labels: Readonly<Record<string, string>>
  /** Observations by bucket, not cumulated; the last is beyond every bound. */
  readonly counts: Float64Array
  sum: number
  count: number
}

/**
 * A histogram whose cells are found by one string: prom-client hashes the sorted labels at each observation, which alone is
 * a tenth of what a request costs here. It is rendered by prom-client all the same.
 */
export class OperationHistogram {
  readonly #cells = new Map<string, HistogramCell>()

  cell(key: string, labels: () => Record<string, string>): HistogramCell {
    let cell = this.#cells.get(key)
    if (cell === undefined) {
      cell = { labels: labels(), counts: new Float64Array(DURATION_BUCKETS_SECONDS.length + 1), sum: 0, count: 0 }
      this.#cells.set(key, cell)
    }
    return cell
  }

  get cells(): Iterable<HistogramCell> {
    return this.#cells.values()
  }
}

export function observe(cell: HistogramCell, seconds: number): void {
  let bucket = 0
  while (bucket < DURATION_BUCKETS_SECONDS.length && seconds > DURATION_BUCKETS_SECONDS[bucket]!) bucket++
  cell.counts[bucket]!++
  cell.sum += seconds
  cell.count++
}
