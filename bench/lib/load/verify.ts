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

/**
 * What is wrong with the answer to request `id`, or `undefined`.
 *
 * The quick test looks for the id and the sum as every JSON writer here puts them; an answer that fails it is parsed
 * before it counts as wrong, so an unusual but valid spelling passes.
 *
 * @param listed tools expected in a `list` answer.
 */
export function wrongness(
  operation: Operation,
  id: number,
  head: ResponseHead,
  body: string,
  listed: number,
): string | undefined {
  if (head.status !== 200) return `status ${head.status}: ${body.slice(0, 300)}`
  if (operation === 'add') {
    const { a, b } = operandsOf(id)
    const sum = String(a + b)
    if (body.includes(`"id":${id}`) && body.includes(`"text":"${sum}"`)) return undefined
    return parsedWrongness(head, body, id, (answer) =>
      answer.result?.isError !== true && answer.result?.content?.[0]?.text === sum ? undefined : `not the sum ${sum}`,
    )
  }
  if (body.includes(`"id":${id}`) && body.includes(`"name":"tool_${listed - 1}"`)) return undefined
  return parsedWrongness(head, body, id, (answer) =>
    answer.result?.tools?.length === listed ? undefined : `${answer.result?.tools?.length} tools, not ${listed}`,
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
