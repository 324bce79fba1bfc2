import type { Block } from './chunk.ts'
import type { ReadText } from './markdown.ts'

/** Reads plain text: blank lines part its paragraphs, and nothing in it is a heading. */
export function readPlainText(text: string): ReadText {
  const blocks: Block[] = []
  let start = 0
  for (const gap of text.matchAll(/\n[ \t]*\n\s*/g)) {
    blocks.push({ start, end: gap.index })
    start = gap.index + gap[0].length
  }
  blocks.push({ start, end: text.length })
  return { text, blocks }
}
