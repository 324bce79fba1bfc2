/** Lines of one text are at least so far apart. */
const APART_MS = 5_000
/** Texts that are remembered; some name a task. */
const MAX_TEXTS = 500

/**
 * Keeps back lines that say the same as the one before: a backend that is away fails every request, and what an operator needs then
 * is not the ten-thousandth stack trace.
 */
export class Repeats {
  readonly #texts = new Map<string, { untilMs: number; keptBack: number }>()

  /**
   * Whether a line is to be written now.
   * @returns how many of the same were kept back since the last one; `undefined`: this one is, too.
   */
  pass(text: string, nowMs: number): number | undefined {
    const known = this.#texts.get(text)
    if (known !== undefined && nowMs < known.untilMs) {
      known.keptBack++
      return undefined
    }
    // The oldest goes: it is the one that has been quiet for longest.
    this.#texts.delete(text)
    if (this.#texts.size >= MAX_TEXTS) this.#texts.delete(this.#texts.keys().next().value!)
    this.#texts.set(text, { untilMs: nowMs + APART_MS, keptBack: 0 })
    return known?.keptBack ?? 0
  }
}
