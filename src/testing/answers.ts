import type { Root, SampleAnswer } from '../define/ask.ts'
import { isObject, type JsonObject } from '../kernel/protocol.ts'

/**
 * What a test client answers to a question: the content of a form; a text, or a whole message, for the model; a list of
 * folders; `accept` for a page; `decline` or `cancel`. Or a function of the request's params that gives one of these.
 */
export type Answer = AnswerValue | ((params: JsonObject) => AnswerValue | Promise<AnswerValue>)
/** See {@link Answer}. */
export type AnswerValue = 'accept' | 'decline' | 'cancel' | (string & {}) | JsonObject | SampleAnswer | readonly Root[]

/** The capabilities that a client with answers declares. */
export const ANSWERING: JsonObject = {
  elicitation: { form: {}, url: {} },
  sampling: { tools: {} },
  roots: {},
}

/**
 * The result of a request of the server's, from the answers by name.
 * @throws {Error} for a name without an answer.
 */
export async function answerTo(
  answers: Readonly<Record<string, Answer>>,
  name: string,
  { method, params }: { method: string; params: JsonObject },
): Promise<JsonObject> {
  const given = Object.hasOwn(answers, name) ? answers[name] : undefined
  if (given === undefined)
    throw new Error(`The server asks ${JSON.stringify(name)} (${method}), and \`answers\` has no entry of that name.`)
  const value = typeof given === 'function' ? await given(params) : given
  if (method === 'roots/list') return { roots: value }
  if (method === 'sampling/createMessage')
    return typeof value === 'string'
      ? { role: 'assistant', content: { type: 'text', text: value }, model: 'test', stopReason: 'endTurn' }
      : (value as JsonObject)
  if (value === 'accept' || value === 'decline' || value === 'cancel') return { action: value }
  if (!isObject(value)) throw new Error(`The answer to ${JSON.stringify(name)} must be the content of the form.`)
  return { action: 'accept', content: value }
}
