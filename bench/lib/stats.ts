/** The middle and the ends of a set of rounds. */
export interface Spread {
  median: number
  min: number
  max: number
}

/**
 * Middle value of a list (mean of the two middle ones when the count is even).
 *
 * @throws RangeError when the list is empty: a missing measurement must not look like a zero.
 */
export function median(values: readonly number[]): number {
  if (values.length === 0) throw new RangeError('median of no values: measure at least one round')
  const sorted = values.toSorted((x, y) => x - y)
  const middle = sorted.length >> 1
  const upper = sorted[middle]!
  return sorted.length % 2 === 1 ? upper : (sorted[middle - 1]! + upper) / 2
}

/**
 * Median, smallest and largest value of a list.
 *
 * @throws RangeError when the list is empty.
 */
export function spread(values: readonly number[]): Spread {
  return { median: median(values), min: Math.min(...values), max: Math.max(...values) }
}

/**
 * Spread of `values[i] / reference[i]`. Both lists hold one entry a round, in the same order: a machine that was slow
 * in one round was slow for both, so the quotient of a pair says more than the quotient of two medians.
 *
 * @throws RangeError when the lists differ in length, are empty, or a reference is not positive.
 */
export function pairedRatio(values: readonly number[], reference: readonly number[]): Spread {
  if (values.length !== reference.length) {
    throw new RangeError(
      `paired ratio of ${values.length} and ${reference.length} rounds: pair each round with its own`,
    )
  }
  return spread(
    values.map((value, round) => {
      const divisor = reference[round]!
      if (!(divisor > 0)) throw new RangeError(`reference of round ${round} is ${divisor}: it must be positive`)
      return value / divisor
    }),
  )
}

/** The value below which such a share of them lies (nearest rank); NaN of no values. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}
