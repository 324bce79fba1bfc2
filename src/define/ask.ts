import type { AudioContent, ImageContent, TextContent } from './content.ts'
import type { InferInput, Schema } from './schema.ts'

/**
 * What a handler needs of the calling client. A tool that declares it is not run for a client without it: 2026-07-28 answers
 * `-32021`, the 2025 revisions an error result.
 */
export type Need = 'elicitation' | 'elicitation.url' | 'sampling' | 'sampling.tools' | 'roots'

/** All of {@link Need}. */
export const NEEDS: readonly Need[] = ['elicitation', 'elicitation.url', 'sampling', 'sampling.tools', 'roots']

/** A question to the user, as a form. */
export interface ElicitOptions<S extends Schema> {
  /** What the user is told. */
  message: string
  /** A flat object of texts, numbers, booleans, choices and lists of choices. No secrets: those need {@link Asking.elicitUrl}. */
  schema: S
}

/** What the user did with a question. `content` fits the schema that was asked. */
export type ElicitAnswer<Content> =
  | { readonly action: 'accept'; readonly content: Content }
  | { readonly action: 'decline' | 'cancel'; readonly content?: undefined }

/** A page that the user is asked to open, for what must not pass through the client: a login, a payment, a secret. */
export interface ElicitUrlOptions {
  message: string
  /** Absolute URL. No personal data, no ready login; the page must make sure that the same user opens it. */
  url: string
  /**
   * Whether the user has done what the page is for. Asked before the question, and again and again after the user has agreed
   * to open the page: agreement alone is not completion (MCP 2026-07-28, elicitation, "URL Mode").
   */
  isComplete: () => boolean | PromiseLike<boolean>
}

/** One message of a conversation that the client's model is to continue. */
export interface SamplingMessage {
  role: 'user' | 'assistant'
  content: SamplingContent | SamplingContent[]
}

/** The model asks for a tool (`tool_use`), or is given what a tool said (`tool_result`). */
export type SamplingContent =
  | TextContent
  | ImageContent
  | AudioContent
  | { type: 'tool_use'; id: string; name: string; input: Record<string, unknown> }
  | { type: 'tool_result'; toolUseId: string; content: unknown[]; structuredContent?: unknown; isError?: boolean }

/** A conversation for the client's own model (MCP, `sampling/createMessage`). */
export interface SampleOptions {
  /** A text is one message of the user. */
  messages: string | readonly SamplingMessage[]
  /** Most tokens to make. */
  maxTokens: number
  systemPrompt?: string
  temperature?: number
  stopSequences?: readonly string[]
  modelPreferences?: {
    hints?: readonly { name?: string }[]
    costPriority?: number
    speedPriority?: number
    intelligencePriority?: number
  }
  /** Tools that the model may ask for; needs a client with `sampling.tools`. */
  tools?: readonly { name: string; description?: string; inputSchema: object }[]
  toolChoice?: { mode?: 'auto' | 'required' | 'none' }
  metadata?: Record<string, unknown>
}

/** What the client's model said. */
export interface SampleAnswer {
  readonly role: 'user' | 'assistant'
  /** As the client sent it. */
  readonly content: SamplingContent | readonly SamplingContent[]
  /** The text blocks of `content`, joined. */
  readonly text: string
  readonly model: string
  readonly stopReason?: string
}

/** A folder that the client lets the server work in. */
export interface Root {
  /** A `file:` URI. */
  readonly uri: string
  readonly name?: string
}

/**
 * Questions to the client, and steps whose results are kept. The same straight-line code serves every revision:
 *
 * - In a 2025 session the question is a request on the stream of the call, and the handler waits.
 * - At 2026-07-28 the call is answered with `input_required`; when the client calls again with the answer, on whichever node,
 *   the handler runs again from the top, and finds the steps and answers that it had.
 *
 * So what stands before a question may run again: put what must not into {@link Asking.step}. Names are unique within a call,
 * and the same each time. A question that is put aside never settles: no `catch` and no `finally` sees it; `ctx.signal` aborts
 * for what must be cleaned up. Questions asked together (`Promise.all`) reach the client together.
 *
 * @see docs/questions.md
 */
export interface Asking {
  /**
   * Runs `fn` and keeps its result: when the handler runs again after a question, the result is there and `fn` does not run.
   * The result goes through JSON, the first time too. An error is not kept.
   */
  readonly step: <T>(name: string, fn: () => T | PromiseLike<T>) => Promise<T>
  /**
   * Waits until `durationMs` (milliseconds, up to a year) after it was first come to. A task is put aside meanwhile: no worker is
   * held, and a restart loses no time.
   */
  readonly sleep: (name: string, durationMs: number) => Promise<void>
  /**
   * Ends the part of a call that its client waits for: what follows is a task, with the steps and answers so far on record. For
   * tools with `task: { start: 'detach' }`; does nothing elsewhere, and in the task itself.
   */
  readonly detach: () => Promise<void>
  /**
   * Equal each time the handler runs for the same call, or the same task: give it to services outside (with the name of the step,
   * where there are several), so that they know a request that was made before.
   */
  readonly idempotencyKey: string
  /**
   * Asks the user. An answer that does not fit the schema is asked again.
   * @throws {HoldfastError} `client_capability_missing` where the client can't be asked.
   */
  readonly elicit: <S extends Schema>(name: string, question: ElicitOptions<S>) => Promise<ElicitAnswer<InferInput<S>>>
  /**
   * Asks the user to open a page, and resolves to `accept` when `isComplete` says so.
   * @throws {HoldfastError} `client_capability_missing`
   */
  readonly elicitUrl: (
    name: string,
    page: ElicitUrlOptions,
  ) => Promise<{ readonly action: 'accept' | 'decline' | 'cancel' }>
  /**
   * Asks the client's own model.
   * @throws {HoldfastError} `client_capability_missing`, or `client_refused` where the client answered with an error.
   */
  readonly sample: (name: string, request: SampleOptions) => Promise<SampleAnswer>
  /**
   * Asks which folders the client lets the server work in.
   * @throws {HoldfastError} `client_capability_missing`, `client_refused`
   */
  readonly roots: (name: string) => Promise<readonly Root[]>
}
