import { spaceWords, splitIdentifiers, withoutMarkup } from '../search/words.ts'
import type { Chunk } from '../reading/chunk.ts'

/** What the full-text index is given of a passage: a text whose words are to be found, for each of its columns. */
export interface IndexedTexts {
  title: string
  headings: string
  body: string
}

/** The texts by which a passage is found. */
export function indexedTexts({ title, source }: { title: string; source: string }, chunk: Chunk): IndexedTexts {
  return {
    title: toIndexText(`${title} ${source}`),
    headings: toIndexText(chunk.headingPath.join(' ')),
    body: toIndexText(withoutMarkup(chunk.text)),
  }
}

function toIndexText(text: string): string {
  return spaceWords(`${text} ${splitIdentifiers(text)}`)
}
