/** What is known of a passage when it is embedded. */
export interface PassageText {
  /** Of the document. */
  title: string
  headingPath: readonly string[]
  /** Markdown. */
  text: string
}

/** Turns text into vectors of length 1 whose dot product says how near two meanings are. */
export interface Embedder {
  /** Names the model and how it is used. Vectors of different models are never compared. */
  readonly model: string
  /**
   * Vectors of passages. A model that reads less than a whole passage gives several for one: its parts.
   *
   * @throws the reason of `signal`, or an error that says why there are no vectors.
   */
  embedPassages(passages: readonly PassageText[], signal?: AbortSignal): Promise<Float32Array[][]>
  /** The vector of a question. Throws as {@link embedPassages} does. */
  embedQuery(text: string, signal?: AbortSignal): Promise<Float32Array>
  /** Frees what the model holds. */
  close(): Promise<void>
}

/** Scales a vector to length 1. The zero vector stays as it is. */
export function normalize(vector: ArrayLike<number>): Float32Array {
  const unit = Float32Array.from(vector)
  const length = Math.hypot(...unit)
  if (length > 0) for (let index = 0; index < unit.length; index++) unit[index]! /= length
  return unit
}
