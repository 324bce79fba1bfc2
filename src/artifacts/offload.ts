import type { ArtifactOptions } from '../define/artifact.ts'
import { content, type ContentBlock, type ResourceLink } from '../define/content.ts'

type Put = (data: Uint8Array | string, options: ArtifactOptions) => Promise<ResourceLink & { size: number }>

/** So much of a text stays in the result, for who reads no links. */
const PREVIEW_CHARACTERS = 1000

/** What a block carries: text, or base64. A link carries nothing. */
function payloadOf(block: ContentBlock): { text: string } | { base64: string } | undefined {
  switch (block.type) {
    case 'text':
      return { text: block.text }
    case 'image':
    case 'audio':
      return { base64: block.data }
    case 'resource':
      return 'text' in block.resource ? { text: block.resource.text } : { base64: block.resource.blob }
    default:
      return undefined
  }
}

/** Bytes that a block puts into a message, not counting what surrounds its data. */
function bytesOf(block: ContentBlock): number {
  const payload = payloadOf(block)
  if (payload === undefined) return 0
  return 'text' in payload ? Buffer.byteLength(payload.text) : payload.base64.length
}

/** Whether blocks have more bytes than they may; quick for those that have few. */
export function isOver(blocks: readonly ContentBlock[], maxBytes: number): boolean {
  let most = 0
  for (const block of blocks) {
    const payload = payloadOf(block)
    // No character has more than three bytes.
    if (payload !== undefined) most += 'text' in payload ? payload.text.length * 3 : payload.base64.length
  }
  return most > maxBytes && blocks.reduce((sum, block) => sum + bytesOf(block), 0) > maxBytes
}

/**
 * Replaces blocks by links, the biggest first, until those that are left have `maxBytes` or less. The beginning of a text stays,
 * for a model whose client reads no links.
 */
export async function offload(
  blocks: readonly ContentBlock[],
  maxBytes: number,
  tool: string,
  put: Put,
): Promise<ContentBlock[]> {
  const sizes = blocks.map(bytesOf)
  let left = sizes.reduce((sum, size) => sum + size, 0)
  const chosen = new Set<number>()
  for (const index of sizes
    .keys()
    .toArray()
    .sort((a, b) => sizes[b]! - sizes[a]!)) {
    if (left <= maxBytes || sizes[index]! <= PREVIEW_CHARACTERS) break
    chosen.add(index)
    left -= sizes[index]!
  }
  const replaced: ContentBlock[] = []
  // One after the other: many at once would hold all of them a second time, as bytes.
  for (const [index, block] of blocks.entries())
    replaced.push(...(chosen.has(index) ? await replace(block, `${tool}-${index + 1}`, put) : [block]))
  return replaced
}

async function replace(block: ContentBlock, name: string, put: Put): Promise<ContentBlock[]> {
  const payload = payloadOf(block)!
  const { annotations, _meta } = block
  const mimeType =
    block.type === 'resource' ? block.resource.mimeType : block.type === 'text' ? 'text/plain' : mimeOf(block)
  const description = block.type === 'resource' ? block.resource.uri : undefined
  const data = 'text' in payload ? payload.text : Buffer.from(payload.base64, 'base64')
  const link = await put(data, {
    name: block.type === 'text' ? `${name}.txt` : name,
    ...(mimeType === undefined ? {} : { mimeType }),
    ...(description === undefined ? {} : { description }),
  })
  const described = { ...link, ...(annotations && { annotations }), ...(_meta && { _meta }) }
  if (!('text' in payload)) return [described]
  const start = payload.text.slice(0, PREVIEW_CHARACTERS).toWellFormed()
  return [
    content.text(`${start}\n[The first ${start.length} characters of ${link.size} bytes. All of it: ${link.uri}]`),
    described,
  ]
}

const mimeOf = (block: ContentBlock): string | undefined => ('mimeType' in block ? block.mimeType : undefined)
