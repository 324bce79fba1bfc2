import { extractText, getDocumentProxy, getMeta } from 'unpdf'
import type { Block } from './chunk.ts'
import { tidy } from './decode-text.ts'
import { MAX_TITLE_CHARACTERS } from './markdown.ts'
import type { ReadText } from './markdown.ts'

/**
 * Reads the text layer of a PDF; its pages become headings ("Page 3").
 *
 * @throws {Error} for a broken or encrypted file.
 */
export async function readPdf(bytes: Uint8Array): Promise<ReadText> {
  const pdf = await getDocumentProxy(new Uint8Array(bytes), { verbosity: 0 })
  try {
    const pages = (await extractText(pdf, { mergePages: false })).text
    const blocks: Block[] = []
    let text = ''
    pages.forEach((page, index) => {
      blocks.push({ start: text.length, end: text.length, heading: { depth: 1, title: `Page ${index + 1}` } })
      const start = text.length
      text += tidy(page)
      blocks.push({ start, end: text.length })
      text += '\n\n'
    })
    const { info } = await getMeta(pdf)
    const title: unknown = info['Title']
    const named = typeof title === 'string' && title.trim() !== ''
    return { text, blocks, ...(named && { title: tidy(title).trim().slice(0, MAX_TITLE_CHARACTERS) }) }
  } finally {
    await pdf.destroy()
  }
}
