import type { Block } from './chunk.ts'
import type { ReadText } from './markdown.ts'

/** A first line of at most this many characters, alone in its paragraph, is taken for the title. */
const MAX_FIRST_LINE_CHARACTERS = 100

/** Reads plain text: blank lines part its paragraphs, and nothing in it is a heading. */
export function readPlainText(text: string): ReadText {
  const blocks: Block[] = []
  let start = 0
  for (const gap of text.matchAll(/\n[ \t]*\n\s*/g)) {
    blocks.push({ start, end: gap.index })
    start = gap.index + gap[0].length
  }
  blocks.push({ start, end: text.length })
  const firstLine = /^\s*(\S.*)\n[ \t]*\n/.exec(text)?.[1]?.trim()
  const isTitle = firstLine !== undefined && firstLine.length <= MAX_FIRST_LINE_CHARACTERS
  return { text, blocks, ...(isTitle && { title: firstLine }) }
}
