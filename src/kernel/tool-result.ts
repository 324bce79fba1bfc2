import { isContentBlock, isToolResult, type ContentBlock, type ToolResult } from '../define/content.ts'
import type { Checked } from '../define/compile-schema.ts'
import type { ToolDefinition } from '../define/tool.ts'
import { isOver } from '../artifacts/offload.ts'
import type { Call } from './call.ts'
import { hasStructuredOutput } from './catalog.ts'
import type { Outcome } from './invocation.ts'
import { isPromise, type Revision } from './protocol.ts'

type Caller = Pick<Call, 'services' | 'facts' | 'operation' | 'artifacts'>

/** Content of a result beyond so many bytes is offloaded, if its tool does not say otherwise. */
const OFFLOAD_BYTES = 256 * 1024

/** A handler returned something that its tool's output schema forbids, or that JSON can't say. A mistake of the server's. */
export class BadResult extends Error {}

/**
 * Turns what a tool's handler returned into a result of the revision.
 * @param call ran the handler; what is too big goes to its artifacts.
 * @throws {BadResult}
 */
export function toToolOutcome(tool: ToolDefinition, value: unknown, call: Caller): Outcome | PromiseLike<Outcome> {
  const answer = (result: ToolResult, isStructured: boolean): Outcome | PromiseLike<Outcome> =>
    withinBounds(tool, result, call, isStructured)
  if (tool.output === undefined) return answer(toResult(value), false)
  const explicit = typeof value === 'object' && value !== null && isToolResult(value) ? value : undefined
  // An explicit error result need not fit: it says that there is no output.
  if (explicit?.isError === true && explicit.structuredContent === undefined) return answer(explicit, false)
  const finish = (checked: Checked): Outcome | PromiseLike<Outcome> => {
    if (checked.problem !== undefined)
      throw new BadResult(`The result does not fit the output schema: ${checked.problem}`)
    const structuredContent = checked.value
    const content = explicit?.content ?? [{ type: 'text' as const, text: toJson(structuredContent) }]
    return answer({ ...explicit, content, structuredContent }, hasStructuredOutput(tool, call.facts.revision))
  }
  const checked = tool.output.check(explicit === undefined ? value : explicit.structuredContent)
  return isPromise(checked) ? checked.then(finish) : finish(checked)
}

/** Renders a result, without the content that is too much for a message. */
function withinBounds(
  tool: ToolDefinition,
  result: ToolResult,
  call: Caller,
  isStructured: boolean,
): Outcome | PromiseLike<Outcome> {
  const { offloadBytes = OFFLOAD_BYTES } = tool
  const { revision } = call.facts
  const isWhole =
    offloadBytes === false ||
    revision < '2025-06-18' || // links came with it
    call.services.artifacts === undefined ||
    !isOver(result.content, offloadBytes)
  if (isWhole) return render(result, revision, isStructured)
  return offloaded(call, tool.name, result.content, offloadBytes).then((content) =>
    render({ ...result, content }, revision, isStructured),
  )
}

/** Blocks with links in place of those that were too big; the same ones, where the store fails: a result is not lost for that. */
async function offloaded(
  { services: { telemetry }, operation, artifacts }: Caller,
  tool: string,
  blocks: ContentBlock[],
  maxBytes: number,
): Promise<ContentBlock[]> {
  try {
    const left = await artifacts.offload(blocks, maxBytes, tool)
    telemetry.count('artifacts', 'offloaded')
    return left
  } catch (error) {
    telemetry.count('artifacts', 'not_offloaded')
    telemetry.failure(operation, `A big result of the tool "${tool}" could not be put into the artifact store.`, error)
    return blocks
  }
}

function toResult(value: unknown): ToolResult {
  if (typeof value === 'string') return { content: [{ type: 'text', text: value }] }
  if (value === undefined) return { content: [] }
  if (typeof value === 'object' && value !== null) {
    if (isToolResult(value)) return value
    if (isContentBlock(value)) return { content: [value] }
    if (
      Array.isArray(value) &&
      value.length > 0 &&
      value.every((item) => typeof item === 'object' && item !== null && isContentBlock(item as object))
    )
      return { content: value as ContentBlock[] }
  }
  return { content: [{ type: 'text', text: toJson(value) }] }
}

function toJson(value: unknown): string {
  let text: string | undefined
  try {
    text = JSON.stringify(value)
  } catch (cause) {
    throw new BadResult("The result can't be written as JSON.", { cause })
  }
  if (text === undefined) throw new BadResult(`The result is a ${typeof value}, which JSON can't say.`)
  return text
}

function render(result: ToolResult, revision: Revision, isStructured: boolean): Outcome {
  const { content, structuredContent, isError, _meta } = result
  const blocks = revision < '2025-11-25' ? content.map((block) => forRevision(block, revision)) : content
  const [only] = blocks
  // The commonest result, written by hand: it is a third of the cost.
  let members =
    blocks.length === 1 && only!.type === 'text' && only!.annotations === undefined && only!._meta === undefined
      ? `"content":[{"type":"text","text":${JSON.stringify(only!.text)}}]`
      : `"content":${toJson(blocks)}`
  // Where no output schema stands, 2026-07-28 lets any result carry structured content; 2025 objects alone.
  const isAllowed =
    revision >= '2026-07-28' ||
    (revision >= '2025-06-18' &&
      typeof structuredContent === 'object' &&
      structuredContent !== null &&
      !Array.isArray(structuredContent))
  if (structuredContent !== undefined && (isStructured || isAllowed))
    members += `,"structuredContent":${toJson(structuredContent)}`
  if (isError === true) members += ',"isError":true'
  return { members, meta: _meta, isError: isError === true }
}

/** Links came with 2025-06-18, their icons with 2025-11-25. An older client is told where to look, in words. */
export function forRevision(block: ContentBlock, revision: Revision): ContentBlock {
  if (block.type !== 'resource_link' || revision >= '2025-11-25') return block
  if (revision < '2025-06-18') return { type: 'text', text: `${block.title ?? block.name}: ${block.uri}` }
  const { icons: _icons, ...rest } = block
  return rest
}

/** A result that tells the model of a failure. */
export function toolFailure(text: string): Outcome {
  return { members: `"content":[{"type":"text","text":${JSON.stringify(text)}}],"isError":true`, isError: true }
}
