import { lexer } from 'marked'
import type { Token, Tokens } from 'marked'
import type { Block } from './chunk.ts'

/** The longest title or heading kept, in characters. */
export const MAX_TITLE_CHARACTERS = 200

/** What a reader makes of a file. `title` is missing where the document does not name itself. */
export interface ReadText {
  title?: string
  text: string
  blocks: Block[]
}

/** Reads Markdown (CommonMark and GFM, with optional YAML front matter whose `title` counts). */
export function readMarkdown(source: string): ReadText {
  const frontMatter = /^---\n([\s\S]*?)\n---[ \t]*\n/.exec(source)
  const text = frontMatter ? source.slice(frontMatter[0].length) : source
  const blocks: Block[] = []
  let end = 0
  for (const token of lexer(text)) {
    const start = text.indexOf(token.raw, end)
    // The lexer's tokens are slices of its input; should one ever not be, the text between counts as a block of its own.
    if (start < 0) continue
    if (start > end) blocks.push({ start: end, end: start })
    end = start + token.raw.length
    if (token.type === 'space') continue
    const heading = token.type === 'heading' ? (token as Tokens.Heading) : undefined
    const title = plainText(heading?.tokens ?? [])
    blocks.push(heading && title !== '' ? { start, end, heading: { depth: heading.depth, title } } : { start, end })
  }
  if (end < text.length) blocks.push({ start: end, end: text.length })
  const declared = /^title:[ \t]*(["']?)(.+?)\1[ \t]*$/m.exec(frontMatter?.[1] ?? '')?.[2]
  const headings = blocks.flatMap(({ heading }) => heading ?? [])
  const title = declared ?? (headings.find(({ depth }) => depth === 1) ?? headings[0])?.title
  return { text, blocks, ...(title !== undefined && { title: title.slice(0, MAX_TITLE_CHARACTERS) }) }
}

/** What a person reads of inline Markdown: no markers, no link targets, no tags. */
function plainText(tokens: readonly Token[]): string {
  const parts = tokens.map((token) => {
    if (token.type === 'html') return ''
    if ('tokens' in token && token.tokens) return plainText(token.tokens)
    return 'text' in token ? (token.text as string) : ' '
  })
  return parts.join('').replace(/\s+/g, ' ').trim().slice(0, MAX_TITLE_CHARACTERS)
}
