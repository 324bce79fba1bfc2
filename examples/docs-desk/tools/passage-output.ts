import * as z from 'zod'
import type { FoundPassage } from '../search/search.ts'

/** A passage as tools return it. */
export const passageOutput = z.object({
  document: z.string().describe('Id of the document'),
  title: z.string(),
  source: z.string(),
  heading: z.string().describe('Headings that the passage stands under, the outermost first'),
  text: z.string(),
  score: z.number().describe('From 0 to 1; for comparing passages of one search'),
  uri: z.string().describe('Resource with the whole document'),
})

/** The resource of a document. */
export const uriOf = (id: string): string => `doc://${id}`

export function toPassageOutput(passage: FoundPassage): z.infer<typeof passageOutput> {
  const { document, title, source, headingPath, text, score } = passage
  const heading = headingPath.join(' > ')
  return { document, title, source, heading, text, score: Number(score.toFixed(4)), uri: uriOf(document) }
}

/** Passages for people, numbered from 1. */
export function describePassages(passages: readonly FoundPassage[]): string {
  return passages
    .map((passage, index) => {
      const place = [passage.title, ...passage.headingPath.filter((heading) => heading !== passage.title)].join(' > ')
      return `[${index + 1}] ${place} (${passage.source}, score ${passage.score.toFixed(2)})\n${passage.text}`
    })
    .join('\n\n')
}
