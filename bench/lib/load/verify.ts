/** Checks that an answer is the right one. A load test of wrong answers measures nothing. */
import { operandsOf } from './request.ts'
import type { Operation } from './request.ts'
import type { ResponseHead } from './response-parser.ts'

interface RpcAnswer {
  id?: unknown
  result?: { isError?: boolean; content?: { type: string; text?: string }[]; tools?: { name: string }[] }
}

/** The JSON-RPC message in a body: the body itself, or the last `data:` of an SSE body. */
export function messageOf(head: ResponseHead, body: string): unknown {
  const text = Buffer.from(body, 'latin1').toString('utf8')
  if (!head.headers.get('content-type')?.startsWith('text/event-stream')) return JSON.parse(text)
  const last = text.split('\n').findLast((line) => line.startsWith('data:') && line.length > 6)
  if (last === undefined) throw new Error('an SSE body without data')
  return JSON.parse(last.slice(5))
}

/** Beginning of a long answer that is still looked at once a whole one has been checked: the id stands in it. */
export const beginningBytes = 256

/** Checks the answers of one client. */
export class AnswerCheck {
  readonly #operation: Operation
  readonly #listed: number
  #checkedBytes: number | undefined

  /** @param listed tools expected in a `list` answer. */
  constructor(operation: Operation, listed: number) {
    this.#operation = operation
    this.#listed = listed
  }

  /** Whether the beginning of an answer ({@link beginningBytes}) and its length are enough from now on. */
  get needsBeginningOnly(): boolean {
    return this.#checkedBytes !== undefined
  }

  /**
   * What is wrong with the answer to request `id`, or `undefined`.
   *
   * The quick tests look for id and sum as every JSON writer here puts them; an answer that fails them is parsed before
   * it counts as wrong, so an unusual but valid spelling passes. A list is parsed once; the next ones must have its
   * length (all ids have one length).
   *
   * @param bodyBytes length of the whole body, of which `body` may be the beginning.
   */
  wrongness(id: number, head: ResponseHead, body: string, bodyBytes: number): string | undefined {
    if (head.status !== 200) return `status ${head.status}: ${body.slice(0, 300)}`
    return this.#operation === 'add' ? wrongSum(id, head, body) : this.#wrongList(id, head, body, bodyBytes)
  }

  #wrongList(id: number, head: ResponseHead, body: string, bodyBytes: number): string | undefined {
    if (this.#checkedBytes !== undefined) {
      if (bodyBytes === this.#checkedBytes && body.includes(`"id":${id}`)) return undefined
      return `a list of ${bodyBytes} bytes, not ${this.#checkedBytes}, or not of id ${id}: ${body.slice(0, 300)}`
    }
    const wrong = parsedWrongness(head, body, id, ({ result }) =>
      result?.tools?.length === this.#listed ? undefined : `${result?.tools?.length} tools, not ${this.#listed}`,
    )
    if (wrong === undefined && body.slice(0, beginningBytes).includes(`"id":${id}`)) this.#checkedBytes = bodyBytes
    return wrong
  }
}

function wrongSum(id: number, head: ResponseHead, body: string): string | undefined {
  const { a, b } = operandsOf(id)
  const sum = String(a + b)
  if (body.includes(`"id":${id}`) && body.includes(`"text":"${sum}"`)) return undefined
  return parsedWrongness(head, body, id, ({ result }) =>
    result?.isError !== true && result?.content?.[0]?.text === sum ? undefined : `not the sum ${sum}`,
  )
}

function parsedWrongness(
  head: ResponseHead,
  body: string,
  id: number,
  check: (answer: RpcAnswer) => string | undefined,
): string | undefined {
  let answer: RpcAnswer
  try {
    answer = messageOf(head, body) as RpcAnswer
  } catch (error) {
    return `not JSON (${String(error)}): ${body.slice(0, 300)}`
  }
  const wrong = answer.id === id ? check(answer) : `id ${JSON.stringify(answer.id)} for request ${id}`
  return wrong === undefined ? undefined : `${wrong}: ${body.slice(0, 300)}`
}
