/** A stretch of a document's text that should stay whole if it can. `start` and `end` are offsets in UTF-16 units. */
export interface Block {
  start: number
  end: number
  /** Set on a heading; its section reaches to the next heading of the same or a smaller depth. */
  heading?: { depth: number; title: string }
}

/** A passage: what is embedded, found and cited. `text` is `documentText.slice(start, end)`. */
export interface Chunk {
  /** Titles of the headings it stands under, the outermost first. */
  headingPath: string[]
  start: number
  end: number
  text: string
}

/** Longest passage, in characters: about 250 tokens of English, so that eight of them make a short prompt. */
export const MAX_CHUNK_CHARACTERS = 1_000

interface OpenChunk {
  start: number
  end: number
  headingPath: string[]
  hasBody: boolean
}

/**
 * Packs blocks into passages. Promises: passages are in order and do not overlap; nothing but white space is left out; no
 * passage is longer than `maxCharacters`; none spans two sections, except that headings with nothing under them join the
 * section that follows; no surrogate pair is cut.
 */
export function chunkBlocks(text: string, blocks: readonly Block[], maxCharacters = MAX_CHUNK_CHARACTERS): Chunk[] {
  const chunks: Chunk[] = []
  const path: { depth: number; title: string }[] = []
  let open: OpenChunk | undefined

  const flush = (): void => {
    if (open) pushTrimmed(chunks, text, open)
    open = undefined
  }
  const append = (start: number, end: number, isBody: boolean): void => {
    open ??= { start, end, headingPath: [], hasBody: false }
    open.end = end
    open.headingPath = path.map(({ title }) => title)
    open.hasBody ||= isBody
  }

  for (const block of blocks) {
    const { heading } = block
    if (heading) {
      if (open?.hasBody) flush()
      while (path.length > 0 && path.at(-1)!.depth >= heading.depth) path.pop()
      path.push(heading)
    }
    let from = block.start
    do {
      const room = maxCharacters - (open ? from - open.start : 0)
      if (block.end - from <= room) {
        append(from, block.end, !heading)
        from = block.end
      } else if (open && (open.hasBody || room < maxCharacters / 4)) {
        flush()
      } else {
        const cut = findCut(text, from, from + room)
        append(from, cut, !heading)
        flush()
        from = cut
      }
    } while (from < block.end)
  }
  flush()
  return chunks
}

function pushTrimmed(chunks: Chunk[], text: string, { start, end, headingPath }: OpenChunk): void {
  const raw = text.slice(start, end)
  const body = raw.trim()
  if (body === '') return
  const from = start + raw.indexOf(body)
  chunks.push({ headingPath, start: from, end: from + body.length, text: body })
}

const BREAKS = [/\n\s*\n/g, /[.!?:;]["')\]]*\s|[。！？]|\n/g, /\s/g]

/** The best place to cut in the second half of `text[from, limit)`: a blank line, a sentence or line end, a space, or anywhere. */
export function findCut(text: string, from: number, limit: number): number {
  const half = text.slice(from, limit)
  for (const pattern of BREAKS) {
    let last = 0
    for (const match of half.matchAll(pattern)) last = match.index + match[0].length
    if (last >= half.length / 2) return from + last
  }
  const splitsPair = /[\ud800-\udbff]/.test(text[limit - 1]!) && /[\udc00-\udfff]/.test(text[limit] ?? '')
  return splitsPair && limit - 1 > from ? limit - 1 : limit
}

/** Cuts a text into pieces of at most `maxCharacters`, at the places that {@link findCut} likes. */
export function splitText(text: string, maxCharacters: number): string[] {
  const pieces: string[] = []
  let from = 0
  while (text.length - from > maxCharacters) {
    const cut = findCut(text, from, from + maxCharacters)
    pieces.push(text.slice(from, cut))
    from = cut
  }
  pieces.push(text.slice(from))
  return pieces
}
