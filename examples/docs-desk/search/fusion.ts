import type { Hit } from '../store/document-store.ts'

/** How much each ranking counts, and how fast a rank loses worth. Chosen on the tuning half of the evaluation. */
export interface FusionWeights {
  text: number
  vectors: number
  /** The constant of reciprocal rank fusion: the larger, the more alike the first and the tenth place count. */
  rankConstant: number
}

export const FUSION_WEIGHTS: FusionWeights = { text: 1, vectors: 0.3, rankConstant: 10 }

/**
 * Reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009): a passage's score is the sum of
 * `weight / (rankConstant + rank)` over the rankings that hold it. Ranks are fused, not scores, because BM25 and cosine
 * have no common scale. Scores are scaled so that the first place in both rankings gives 1.
 */
export function fuseRankings(text: readonly Hit[], vectors: readonly Hit[], weights = FUSION_WEIGHTS): Hit[] {
  const best = (weights.text + weights.vectors) / (weights.rankConstant + 1)
  const scores = new Map<number, number>()
  const add = (ranking: readonly Hit[], weight: number): void =>
    ranking.forEach(({ chunk }, index) => {
      const share = weight / (weights.rankConstant + index + 1) / best
      scores.set(chunk, (scores.get(chunk) ?? 0) + share)
    })
  add(text, weights.text)
  add(vectors, weights.vectors)
  return [...scores].map(([chunk, score]) => ({ chunk, score })).sort((a, b) => b.score - a.score || a.chunk - b.chunk)
}
