import { answerFrom } from '../answer/answer.ts'
import type { Model } from '../answer/answer.ts'
import { proseOf, queryWords } from '../search/words.ts'
import type { FoundPassage } from '../search/search.ts'

/** What one document says on a topic: sentences that name passages as `[1]`, `[2]` …, in the order given. */
export interface Summary {
  text: string
  /** `extract`: sentences of the document, in its own words, because no language model is set up. */
  by: 'model' | 'extract'
}

/** Sentences of an extract; the first ones of equal worth. */
const MAX_SENTENCES = 3
const segmenter = new Intl.Segmenter('und', { granularity: 'sentence' })

/**
 * Sums up the passages of one document on a topic: by a language model, or else by its sentences that hold most words of the
 * topic.
 *
 * @throws what the model throws.
 */
export async function summarize(
  topic: string,
  passages: readonly FoundPassage[],
  model: Model | undefined,
): Promise<Summary> {
  if (model === undefined) return { text: extract(topic, passages), by: 'extract' }
  const question = `Sum up in at most five sentences what the passages say on this topic: ${topic}`
  return { text: (await answerFrom(model, question, passages)).answer, by: 'model' }
}

function extract(topic: string, passages: readonly FoundPassage[]): string {
  const words = queryWords(topic)
  const sentences = passages.flatMap(({ text }, index) =>
    [...segmenter.segment(proseOf(text))].map(({ segment }, place) => ({
      text: segment.trim(),
      number: index + 1,
      place,
      hits: words.filter((word) => segment.toLowerCase().includes(word)).length,
    })),
  )
  const chosen = sentences
    .filter(({ text }) => text !== '')
    .toSorted((a, b) => b.hits - a.hits || a.number - b.number || a.place - b.place)
    .slice(0, MAX_SENTENCES)
    .toSorted((a, b) => a.number - b.number || a.place - b.place)
  return chosen.map(({ text, number }) => `${text} [${number}]`).join(' ')
}
