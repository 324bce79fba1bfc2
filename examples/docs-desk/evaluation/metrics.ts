/** How much each relevant section of a question is worth: 2 answers it, 1 helps. */
export type Judgements = ReadonlyMap<string, number>

/** Share of a question's relevant sections among the first `depth` found; of more than `depth`, that many are asked for. */
export function recallAt(depth: number, ranking: readonly string[], judgements: Judgements): number {
  const found = ranking.slice(0, depth).filter((section) => judgements.has(section)).length
  return found / Math.min(depth, judgements.size)
}

/** Normalised discounted cumulative gain (Järvelin and Kekäläinen, 2002) with gain `2^grade - 1`. */
export function ndcgAt(depth: number, ranking: readonly string[], judgements: Judgements): number {
  const discounted = (grades: readonly number[]): number =>
    grades.slice(0, depth).reduce((sum, grade, index) => sum + (2 ** grade - 1) / Math.log2(index + 2), 0)
  const ideal = [...judgements.values()].sort((a, b) => b - a)
  return discounted(ranking.map((section) => judgements.get(section) ?? 0)) / discounted(ideal)
}

export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}
