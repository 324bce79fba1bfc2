/** Hints for clients on a content block or resource (MCP 2026-07-28, "Annotations"). */
export interface Annotations {
  audience?: ('user' | 'assistant')[]
  /** From 0 (optional) to 1 (required). */
  priority?: number
  /** ISO 8601. */
  lastModified?: string
}

/** An icon for clients to show. */
export interface Icon {
  src: string
  mimeType?: string
  sizes?: string[]
  theme?: 'light' | 'dark'
}

interface BlockExtras {
  annotations?: Annotations
  _meta?: Record<string, unknown>
}
/** Text, for the model or the user. */
export interface TextContent extends BlockExtras {
  type: 'text'
  text: string
}
/** A picture. */
export interface ImageContent extends BlockExtras {
  type: 'image'
  /** Base64. */
  data: string
  mimeType: string
}
/** A sound. */
export interface AudioContent extends BlockExtras {
  type: 'audio'
  /** Base64. */
  data: string
  mimeType: string
}
/** The contents of a resource, carried inside a result or message. */
export interface EmbeddedResource extends BlockExtras {
  type: 'resource'
  resource: ResourceContents
}
/** Names a resource that the client may read; from revision 2025-06-18 on. */
export interface ResourceLink extends BlockExtras {
  type: 'resource_link'
  uri: string
  name: string
  title?: string
  description?: string
  mimeType?: string
  /** Bytes. */
  size?: number
  icons?: Icon[]
}
/** A block of a tool's result or of a prompt's message. */
export type ContentBlock = TextContent | ImageContent | AudioContent | EmbeddedResource | ResourceLink

/** The contents of a resource: text, or base64 in `blob`. */
export type ResourceContents = { uri: string; mimeType?: string; _meta?: Record<string, unknown> } & (
  { text: string } | { blob: string }
)

/** A message of a prompt. */
export interface PromptMessage {
  role: 'user' | 'assistant'
  content: ContentBlock
}

/** Begins the URI of every artifact. */
export const ARTIFACT_URI_PREFIX = 'holdfast://artifact/'

const made = new WeakSet<object>()
function block<T extends ContentBlock>(value: T): T {
  made.add(value)
  return value
}
/** Values of untyped code reach clients otherwise, who refuse the whole answer. */
function checkString(what: string, value: unknown): void {
  if (typeof value !== 'string')
    throw new TypeError(`${what} must be a string; it is ${value === null ? 'null' : typeof value}.`)
}
function base64(what: string, data: Uint8Array | string): string {
  if (data instanceof Uint8Array) return Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('base64')
  checkString(`The data of content.${what}`, data)
  return data
}

/** A whole tool result, where a handler must say more than its content; made by {@link content.result}. */
export interface ToolResult {
  content: ContentBlock[]
  structuredContent?: unknown
  isError?: boolean
  _meta?: Record<string, unknown>
}
const results = new WeakSet<object>()

/**
 * Builders for what a handler returns. A block made here is sent as it is; any other object is sent as JSON text (and, with
 * an output schema, as `structuredContent`).
 */
export const content = {
  /** Text. */
  text: (text: string, extras: BlockExtras = {}): TextContent => {
    checkString('The text of content.text', text)
    return block({ type: 'text', text, ...extras })
  },
  /** A picture; `data` as bytes or as base64. */
  image: (data: Uint8Array | string, mimeType: string, extras: BlockExtras = {}): ImageContent =>
    block({ type: 'image', data: base64('image', data), mimeType, ...extras }),
  /** A sound; `data` as bytes or as base64. */
  audio: (data: Uint8Array | string, mimeType: string, extras: BlockExtras = {}): AudioContent =>
    block({ type: 'audio', data: base64('audio', data), mimeType, ...extras }),
  /** A resource carried inside the result; `data` as text, or as bytes. */
  resource: (uri: string, data: Uint8Array | string, mimeType?: string, extras: BlockExtras = {}): EmbeddedResource =>
    block({ type: 'resource', resource: toResourceContents(uri, data, mimeType), ...extras }),
  /** A link to a resource that the client may read. Clients of revision 2025-03-26, which has no links, get it as text. */
  link: (uri: string, name: string, extras: Omit<ResourceLink, 'type' | 'uri' | 'name'> = {}): ResourceLink =>
    block({ type: 'resource_link', uri, name, ...extras }),
  /** A whole result: blocks beside `structuredContent`, `isError` or `_meta`. */
  result: (result: ToolResult): ToolResult => {
    if (!Array.isArray(result.content)) throw new TypeError('The content of content.result must be an array of blocks.')
    if (result._meta !== undefined && (typeof result._meta !== 'object' || result._meta === null))
      throw new TypeError('The _meta of content.result must be an object.')
    const value = { ...result }
    results.add(value)
    return value
  },
}

/** Contents of a resource from text or bytes. */
export function toResourceContents(uri: string, data: Uint8Array | string, mimeType?: string): ResourceContents {
  const head = mimeType === undefined ? { uri } : { uri, mimeType }
  return typeof data === 'string' ? { ...head, text: data } : { ...head, blob: base64('resource', data) }
}

/** Whether a value was built by one of the block builders of {@link content}, or is a link to an artifact, which a step may have kept as JSON. */
export function isContentBlock(value: object): value is ContentBlock {
  return made.has(value) || isArtifactLink(value)
}
function isArtifactLink(value: object): boolean {
  const { type, uri, name } = value as Record<string, unknown>
  return (
    type === 'resource_link' &&
    typeof uri === 'string' &&
    uri.startsWith(ARTIFACT_URI_PREFIX) &&
    typeof name === 'string'
  )
}
/** Whether a value was built by {@link content.result}. */
export function isToolResult(value: object): value is ToolResult {
  return results.has(value)
}
