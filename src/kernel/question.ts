import type { ElicitOptions, ElicitUrlOptions, Need, SampleOptions } from '../define/ask.ts'
import type { Checked } from '../define/compile-schema.ts'
import type { Client } from '../define/context.ts'
import { quote } from '../define/names.ts'
import { isSchema, toFirstForm, toForm } from '../define/question-schema.ts'
import type { Schema } from '../define/schema.ts'
import { HoldfastError } from '../errors/holdfast-error.ts'
import { isObject, type JsonObject } from './protocol.ts'

/** A request that the server makes of the client. */
export interface ClientRequest {
  readonly method: 'elicitation/create' | 'sampling/createMessage' | 'roots/list'
  readonly params: JsonObject
}

/** Something that a handler asks of the client, in no revision's words yet. */
export interface Question {
  readonly kind: 'elicit' | 'url' | 'sample' | 'roots'
  readonly name: string
  readonly needs: Need
  /** The question in the words of a revision; `undefined` where it has none for it. */
  toRequest(revision: string): ClientRequest | undefined
  /** Reads an answer: what the handler gets, or what is wrong with it. */
  read(answer: unknown): Checked | PromiseLike<Checked>
}

const refuse = (message: string): never => {
  throw new HoldfastError('invalid_ask', message)
}

/** What a client must declare for a need (MCP 2026-07-28, `ClientCapabilities`). */
export function requiredCapabilities(needs: readonly Need[]): JsonObject {
  const required: Record<string, JsonObject> = {}
  for (const need of needs) {
    const [name, part] = (need === 'elicitation' ? 'elicitation.form' : need).split('.') as [string, string?]
    const entry = (required[name] ??= {})
    if (part !== undefined) entry[part] = {}
  }
  return required
}

/** Whether the client can serve a need, by what it declared and by what its revision has. */
export function hasCapability({ capabilities, protocolVersion }: Client, need: Need): boolean {
  const [name, part] = need.split('.') as [string, string?]
  const declared = capabilities[name]
  if (!isObject(declared)) return false
  if (name === 'elicitation') {
    if (protocolVersion < '2025-06-18') return false
    if (part === 'url') return protocolVersion >= '2025-11-25' && isObject(declared.url)
    // `elicitation: {}` means forms.
    return isObject(declared.form) || declared.url === undefined
  }
  return part === undefined || (protocolVersion >= '2025-11-25' && isObject(declared[part]))
}

/** @throws {HoldfastError} `client_capability_missing` */
export function checkNeeds(client: Client, needs: readonly Need[]): void {
  const missing = needs.filter((need) => !hasCapability(client, need))
  if (missing.length > 0) throw missingCapability(missing, client.protocolVersion)
}

export function missingCapability(needs: readonly Need[], revision: string): HoldfastError {
  return new HoldfastError(
    'client_capability_missing',
    `This needs a client with ${needs.map((need) => `\`${need}\``).join(', ')}; yours, at revision ${revision}, does not offer it.`,
    { data: { requiredCapabilities: requiredCapabilities(needs) } },
  )
}

const ACTIONS: readonly unknown[] = ['accept', 'decline', 'cancel']

/** Answers to forms and pages alike begin with what the user did. */
function readAction(answer: unknown): { action: 'accept' | 'decline' | 'cancel'; content: unknown } | undefined {
  return isObject(answer) && ACTIONS.includes(answer.action)
    ? { action: answer.action as 'accept', content: answer.content }
    : undefined
}
const BAD_ACTION: Checked = { problem: '`action` must be "accept", "decline" or "cancel"' }

/** @throws {HoldfastError} `invalid_ask` */
export function elicitQuestion(name: string, options: ElicitOptions<Schema>): Question {
  const where = `ctx.elicit(${quote(name)})`
  if (!isObject(options) || typeof options.message !== 'string' || !isSchema(options.schema))
    return refuse(`${where} needs { message, schema }.`)
  const form = toForm(options.schema, where)
  return {
    kind: 'elicit',
    name,
    needs: 'elicitation',
    toRequest(revision) {
      const requestedSchema = revision < '2025-11-25' ? toFirstForm(form.json) : form.json
      if (requestedSchema === undefined) return undefined
      const mode = revision < '2025-11-25' ? {} : { mode: 'form' }
      return { method: 'elicitation/create', params: { ...mode, message: options.message, requestedSchema } }
    },
    read(answer) {
      const read = readAction(answer)
      if (read === undefined) return BAD_ACTION
      if (read.action !== 'accept') return { value: { action: read.action } }
      const toAnswer = (checked: Checked): Checked =>
        checked.problem === undefined ? { value: { action: 'accept', content: checked.value } } : checked
      // A form that asks for nothing is agreed to without content by some clients.
      const checked = form.check(read.content ?? {})
      return 'then' in checked ? checked.then(toAnswer) : toAnswer(checked)
    },
  }
}

/**
 * Reads an answer to a question that was asked elsewhere, by its request alone: whether it fits. What a handler makes of it, its
 * own schema says.
 */
export function readAnswer(
  kind: string,
  name: string,
  { params }: ClientRequest,
  answer: unknown,
): Checked | PromiseLike<Checked> {
  switch (kind) {
    case 'elicit':
      return elicitQuestion(name, {
        message: params.message as string,
        schema: params.requestedSchema as Schema,
      }).read(answer)
    case 'url':
      return readAction(answer) === undefined ? BAD_ACTION : { value: answer }
    case 'sample':
      return readSample(answer)
    default:
      return rootsQuestion(name).read(answer)
  }
}

/** @throws {HoldfastError} `invalid_ask` */
export function urlQuestion(name: string, { message, url, isComplete }: ElicitUrlOptions): Question {
  const where = `ctx.elicitUrl(${quote(name)})`
  if (typeof message !== 'string' || typeof isComplete !== 'function')
    return refuse(`${where} needs { message, url, isComplete }.`)
  if (typeof url !== 'string' || !URL.canParse(url)) return refuse(`${where}: ${quote(url)} is no absolute URL.`)
  return {
    kind: 'url',
    name,
    needs: 'elicitation.url',
    toRequest: () => ({ method: 'elicitation/create', params: { mode: 'url', message, url } }),
    read(answer) {
      const read = readAction(answer)
      return read === undefined ? BAD_ACTION : { value: { action: read.action } }
    },
  }
}

/** @throws {HoldfastError} `invalid_ask` */
export function sampleQuestion(name: string, options: SampleOptions): Question {
  const where = `ctx.sample(${quote(name)})`
  if (!isObject(options) || !Number.isSafeInteger(options.maxTokens) || options.maxTokens < 1)
    return refuse(`${where} needs { messages, maxTokens }, \`maxTokens\` a whole number, 1 or more.`)
  const messages =
    typeof options.messages === 'string'
      ? [{ role: 'user', content: { type: 'text', text: options.messages } }]
      : options.messages
  checkMessages(messages, where)
  return {
    kind: 'sample',
    name,
    needs: options.tools === undefined && options.toolChoice === undefined ? 'sampling' : 'sampling.tools',
    toRequest(revision) {
      // Lists of blocks came with 2025-11-25.
      const isList = messages.some(({ content }) => Array.isArray(content))
      return isList && revision < '2025-11-25'
        ? undefined
        : { method: 'sampling/createMessage', params: { ...options, messages } as JsonObject }
    },
    read: readSample,
  }
}

/** Tool results stand alone, and every `tool_use` is answered (MCP 2026-07-28, sampling, "Message Content Constraints"). */
function checkMessages(messages: unknown, where: string): asserts messages is { role: string; content: unknown }[] {
  if (!Array.isArray(messages) || messages.length === 0) return refuse(`${where}: \`messages\` is empty.`)
  let open: string[] = []
  for (const message of messages as unknown[]) {
    if (!isObject(message) || (message.role !== 'user' && message.role !== 'assistant'))
      return refuse(`${where}: each message is { role: 'user' | 'assistant', content }.`)
    const blocks = (Array.isArray(message.content) ? message.content : [message.content]) as unknown[]
    if (blocks.length === 0 || !blocks.every((block) => isObject(block) && typeof block.type === 'string'))
      return refuse(`${where}: the content of a message is a block, or a list of blocks.`)
    const types = blocks as JsonObject[]
    const results = types.filter(({ type }) => type === 'tool_result').map(({ toolUseId }) => String(toolUseId))
    if (results.length > 0 && results.length < types.length)
      return refuse(`${where}: a message with a tool_result holds nothing else.`)
    if (open.length > 0 && (message.role !== 'user' || open.some((id) => !results.includes(id))))
      return refuse(`${where}: the tool_use ${quote(open[0])} is not answered by the message that follows it.`)
    if (results.some((id) => !open.includes(id))) return refuse(`${where}: a tool_result answers no tool_use.`)
    open = types.filter(({ type }) => type === 'tool_use').map(({ id }) => String(id))
  }
  if (open.length > 0) return refuse(`${where}: the tool_use ${quote(open[0])} is not answered.`)
}

function readSample(answer: unknown): Checked {
  if (!isObject(answer)) return { problem: 'it must be an object' }
  const { role, content, model } = answer
  if (role !== 'assistant' && role !== 'user') return { problem: '`role` must be "assistant" or "user"' }
  if (typeof model !== 'string') return { problem: '`model` must be a string' }
  const blocks: unknown[] = Array.isArray(content) ? content : [content]
  if (!blocks.every((block) => isObject(block) && typeof block.type === 'string'))
    return { problem: '`content` must be a block, or a list of blocks' }
  const text = (blocks as JsonObject[])
    .flatMap((block) => (block.type === 'text' && typeof block.text === 'string' ? [block.text] : []))
    .join('\n')
  const { stopReason } = answer
  return { value: { role, content, text, model, ...(typeof stopReason === 'string' ? { stopReason } : {}) } }
}

export function rootsQuestion(name: string): Question {
  return {
    kind: 'roots',
    name,
    needs: 'roots',
    toRequest: () => ({ method: 'roots/list', params: {} }),
    read(answer) {
      const roots = isObject(answer) ? answer.roots : undefined
      if (!Array.isArray(roots)) return { problem: '`roots` must be a list' }
      for (const root of roots as unknown[])
        if (!isObject(root) || typeof root.uri !== 'string' || !root.uri.startsWith('file://'))
          return { problem: 'each root must have a `uri` that begins with file://' }
      return {
        value: (roots as JsonObject[]).map(({ uri, name: title }) => ({
          uri,
          ...(typeof title === 'string' ? { name: title } : {}),
        })),
      }
    },
  }
}
