import { describe, expect, test } from 'vitest'
import { firstId, operandsOf } from '../../bench/lib/load/request.ts'
import type { ResponseHead } from '../../bench/lib/load/response-parser.ts'
import { AnswerCheck } from '../../bench/lib/load/verify.ts'

const id = firstId + 4711
const { a, b } = operandsOf(id)
const json: ResponseHead = { status: 200, headers: new Map([['content-type', 'application/json']]) }
const stream: ResponseHead = { status: 200, headers: new Map([['content-type', 'text/event-stream']]) }

function answer(sum: number, answered = id): object {
  return { jsonrpc: '2.0', id: answered, result: { content: [{ type: 'text', text: String(sum) }] } }
}

describe('AnswerCheck of a call', () => {
  const wrongness = (head: ResponseHead, body: string): string | undefined =>
    new AnswerCheck('add', 0).wrongness(id, head, body, body.length)

  test('accepts the sum as JSON, as an event, and in any valid spelling', () => {
    const body = JSON.stringify(answer(a + b))
    expect(wrongness(json, body)).toBeUndefined()
    expect(wrongness(stream, `event: message\ndata: ${body}\n\n`)).toBeUndefined()
    expect(wrongness(json, JSON.stringify(answer(a + b), undefined, 2))).toBeUndefined()
    expect(wrongness(stream, `data: ${JSON.stringify(answer(a + b)).replace(':"', ': "')}\n\n`)).toBeUndefined()
  })

  test.each([
    ['another sum', json, JSON.stringify(answer(a + b + 1)), /not the sum/],
    ['the answer to another request', json, JSON.stringify(answer(a + b, id + 1)), /for request/],
    ['a status that is not 200', { ...json, status: 503 }, JSON.stringify(answer(a + b)), /status 503/],
    ['what is not JSON', json, '<html>', /not JSON/],
    ['an error', json, JSON.stringify({ jsonrpc: '2.0', id, error: { code: -32603, message: 'no' } }), /not the sum/],
    ['an event stream without an event', stream, ': nothing\n\n', /without data/],
  ])('refuses %s', (_, head, body, message) => {
    expect(wrongness(head, body)).toMatch(message)
  })
})

describe('AnswerCheck of a list', () => {
  const list = (tools: number, answered = id): string =>
    JSON.stringify({
      jsonrpc: '2.0',
      id: answered,
      result: { tools: Array.from({ length: tools }, (_, at) => ({ name: `tool_${at}` })) },
    })

  test('counts the tools of the first answer, then looks at id and length alone', () => {
    const check = new AnswerCheck('list', 30)
    const body = list(30)
    expect(check.needsBeginningOnly).toBe(false)
    expect(check.wrongness(id, json, body, body.length)).toBeUndefined()
    expect(check.needsBeginningOnly).toBe(true)
    expect(check.wrongness(id, json, body.slice(0, 256), body.length)).toBeUndefined()
    expect(check.wrongness(id, json, body.slice(0, 256), body.length - 1)).toMatch(/bytes, not/)
    expect(check.wrongness(id + 1, json, body.slice(0, 256), body.length)).toMatch(/not of id/)
  })

  test('refuses a list of another number of tools', () => {
    const body = list(29)
    expect(new AnswerCheck('list', 30).wrongness(id, json, body, body.length)).toMatch(/29 tools, not 30/)
  })
})
