import type {
  LanguageModelV4CallOptions,
  LanguageModelV4Content,
  LanguageModelV4StreamPart,
  LanguageModelV4Usage,
} from '@ai-sdk/provider'

/** Tokens of one call, or of several. */
export interface TokenCount {
  /** All of the prompt, what the provider had in its own cache included. */
  readonly input: number
  readonly output: number
  /** Of the input: read from the provider's cache. */
  readonly cacheRead: number
  /** Of the input: written to the provider's cache. */
  readonly cacheWrite: number
}

/** Characters of a token, in English and by rule of thumb; other languages and code have fewer. */
const CHARACTERS_PER_TOKEN = 4
/** Assumed of a call that sets no `maxOutputTokens`. */
const ASSUMED_OUTPUT_TOKENS = 1_000
/** Assumed of an image or a file. */
const ASSUMED_FILE_TOKENS = 1_000

/** What a call has used: as the provider says, and where it says nothing by the length of what went in and came out. */
export function tokensOf(
  usage: LanguageModelV4Usage | undefined,
  params: LanguageModelV4CallOptions,
  output: readonly (LanguageModelV4Content | LanguageModelV4StreamPart)[],
): TokenCount {
  const { inputTokens, outputTokens } = usage ?? {}
  const cacheRead = saidTokens(inputTokens?.cacheRead) ?? 0
  const cacheWrite = saidTokens(inputTokens?.cacheWrite) ?? 0
  const noCache = saidTokens(inputTokens?.noCache)
  const saidInput =
    saidTokens(inputTokens?.total) ?? (noCache === undefined ? undefined : noCache + cacheRead + cacheWrite)
  const text = saidTokens(outputTokens?.text)
  const reasoning = saidTokens(outputTokens?.reasoning)
  const saidOutput = saidTokens(outputTokens?.total) ?? (text === undefined ? undefined : text + (reasoning ?? 0))
  return {
    input: saidInput ?? estimatePrompt(params),
    output: saidOutput ?? estimateTokens(output.map(textOf)),
    cacheRead,
    cacheWrite,
  }
}

/** A number of tokens as a provider says it; what is none would spoil a sum for good, or give tokens back to a limit. */
export function saidTokens(count: unknown): number | undefined {
  return typeof count === 'number' && count >= 0 && Number.isFinite(count) ? count : undefined
}

/** What a call would have used where nobody knows: no more than its input. */
export const inputOnly = (input: number): TokenCount => ({ input, output: 0, cacheRead: 0, cacheWrite: 0 })

/** Tokens of texts, by their length. */
export function estimateTokens(texts: readonly string[]): number {
  return Math.ceil(texts.reduce((sum, text) => sum + text.length, 0) / CHARACTERS_PER_TOKEN)
}

/** The most that a call will use, before it is made: its prompt by length, and as much output as it may have. */
export function estimateCall(params: LanguageModelV4CallOptions): number {
  return estimatePrompt(params) + (params.maxOutputTokens ?? ASSUMED_OUTPUT_TOKENS)
}

function estimatePrompt({ prompt, tools }: LanguageModelV4CallOptions): number {
  const texts = tools === undefined ? [] : [JSON.stringify(tools)]
  let files = 0
  for (const { content } of prompt)
    if (typeof content === 'string') texts.push(content)
    else
      for (const part of content)
        if (part.type === 'text' || part.type === 'reasoning') texts.push(part.text)
        else if (part.type === 'tool-call') texts.push(JSON.stringify(part.input) ?? '')
        else if (part.type === 'tool-result') texts.push(JSON.stringify(part.output))
        else if (part.type === 'file' && part.data.type === 'text') texts.push(part.data.text)
        else files++
  return estimateTokens(texts) + files * ASSUMED_FILE_TOKENS
}

function textOf(part: LanguageModelV4Content | LanguageModelV4StreamPart): string {
  switch (part.type) {
    case 'text':
    case 'reasoning':
      return part.text
    case 'text-delta':
    case 'reasoning-delta':
      return part.delta
    case 'tool-call':
      return part.input
    default:
      return ''
  }
}
