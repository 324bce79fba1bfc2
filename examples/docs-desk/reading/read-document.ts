import { extname } from 'node:path'
import { chunkBlocks } from './chunk.ts'
import type { Chunk } from './chunk.ts'
import { decodeText, tidy } from './decode-text.ts'
import { declaredCharset, readHtml } from './html.ts'
import { readMarkdown } from './markdown.ts'
import type { ReadText } from './markdown.ts'
import { readPdf } from './pdf.ts'
import { readPlainText } from './plain-text.ts'

/** Rises whenever the same bytes are read or cut differently, so that documents are read anew after an upgrade. */
export const READING_VERSION = 1

export type DocumentFormat = 'markdown' | 'html' | 'text' | 'pdf'

const FORMATS: Readonly<Record<string, DocumentFormat>> = {
  '.md': 'markdown',
  '.markdown': 'markdown',
  '.html': 'html',
  '.htm': 'html',
  '.txt': 'text',
  '.text': 'text',
  '.pdf': 'pdf',
}

/** The endings of files that can be read. */
export const READABLE_ENDINGS = Object.keys(FORMATS)

/** The format of a file by its ending; undefined where it is none that can be read. */
export function formatOf(file: string): DocumentFormat | undefined {
  return FORMATS[extname(file).toLowerCase()]
}

/** A document as it is stored. */
export interface ReadDocument {
  /** The name that the document gives itself. */
  title?: string
  text: string
  chunks: Chunk[]
}

/** What {@link readDocument} is given: bytes of a file, or text. */
export interface ReadRequest {
  format: DocumentFormat
  content: Uint8Array | string
}

/**
 * Reads a document and cuts it into passages. It may take long or fail on hostile input, so it runs in a worker thread.
 *
 * @throws {Error} that says why the document cannot be read.
 */
export async function readDocument({ format, content }: ReadRequest): Promise<ReadDocument> {
  const read = await readText(format, content)
  const chunks = chunkBlocks(read.text, read.blocks)
  if (chunks.length === 0)
    throw new Error(
      format === 'pdf'
        ? 'It has no text layer: it seems to be scanned. Run it through text recognition.'
        : 'It is empty.',
    )
  return { ...(read.title !== undefined && { title: read.title }), text: read.text, chunks }
}

async function readText(format: DocumentFormat, content: Uint8Array | string): Promise<ReadText> {
  if (format === 'pdf') {
    if (typeof content === 'string') throw new Error('A PDF is given as bytes, not as text.')
    return readPdf(content)
  }
  const charset = format === 'html' && typeof content !== 'string' ? declaredCharset(content) : undefined
  const text = typeof content === 'string' ? tidy(content) : decodeText(content, charset)
  if (format === 'markdown') return readMarkdown(text)
  return format === 'html' ? readHtml(text) : readPlainText(text)
}
