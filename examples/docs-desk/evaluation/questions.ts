import { readFileSync } from 'node:fs'

/** A question with the sections that answer it; see ATTRIBUTION.md. */
export interface Question {
  id: string
  split: 'tune' | 'held-out'
  style: 'natural' | 'keyword'
  question: string
  relevant: { document: string; heading: string; grade: number }[]
}

export const CORPUS_FOLDER = new URL('./corpus', import.meta.url)

export function readQuestions(): Question[] {
  return JSON.parse(readFileSync(new URL('./questions.json', import.meta.url), 'utf8')) as Question[]
}

/** Names a section the same way whether its heading comes from a judgement or from a passage. */
export function sectionKey(document: string, heading: string): string {
  const words = heading.toLowerCase().match(/[a-z0-9]+/g) ?? []
  return `${document}#${words.join(' ')}`
}
