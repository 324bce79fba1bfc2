import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import * as z from 'zod'
import { defineServer, defineTool } from '../../src/index.ts'
import { generateKeys } from '../../src/kernel/key-ring.ts'
import {
  accept,
  callModern,
  LegacyClient,
  modern,
  Nodes,
  textOf,
  type Answered,
  type Json,
  type Node,
} from './nodes.ts'

// `requestState` is what a stranger says: only what this server made, for this caller, this request and this time, goes on.

let runs = 0
const ask = defineTool({
  name: 'ask',
  description: 'Asks',
  input: z.looseObject({ a: z.int(), b: z.object({ c: z.int(), d: z.int() }).optional() }),
  async run({ a }, ctx) {
    runs++
    const { content } = await ctx.elicit('who', { message: 'Who?', schema: z.object({ name: z.string() }) })
    return `${a} ${content?.name}`
  },
})
const server = defineServer({ name: 'seals', version: '1.0.0', tools: [ask, { ...ask, name: 'other' }] })

const TTL_MS = 900_000
const key = (id: string): string => `${id}:${randomBytes(32).toString('base64')}`
const OLD = key('old')
const NEW = key('new')

let nodes: Nodes
let node: Node
beforeAll(async () => {
  const auth = {
    authenticate: ({ header }: { header(name: string): string | undefined }) => {
      const subject = header('x-user')
      return subject === undefined
        ? undefined
        : {
            issuer: 'test',
            subject,
            scopes: [],
            ...(header('x-tenant') === undefined ? {} : { tenant: header('x-tenant')! }),
          }
    },
  }
  nodes = new Nodes(server, { keys: OLD, auth, questionTtlMs: TTL_MS })
  node = await nodes.start()
})
afterAll(() => nodes.close())
beforeEach(() => {
  runs = 0
})

const ANN = { headers: { 'x-user': 'ann' } }
const ARGS = { a: 1, b: { c: 2, d: 3 } }
const ANSWERS = { who: accept({ name: 'Ann' }) }

async function begin(at = node): Promise<string> {
  const { result } = await callModern(at, 'ask', ARGS, {}, ANN)
  runs = 0
  return result!.requestState!
}
const goOn = (
  requestState: unknown,
  more: { at?: Node; name?: string; args?: Json; headers?: Json } = {},
): Promise<Answered> =>
  callModern(
    more.at ?? node,
    more.name ?? 'ask',
    more.args ?? ARGS,
    { requestState, inputResponses: ANSWERS },
    {
      headers: { ...ANN.headers, ...more.headers } as Record<string, string>,
    },
  )

/** Changes one byte of the seal's part. */
function flip(state: string, at: number): string {
  const [id, text] = state.split('.') as [string, string]
  const bytes = Buffer.from(text, 'base64url')
  const index = at < 0 ? bytes.length + at : at
  bytes[index] = bytes[index]! ^ 1
  return `${id}.${bytes.toString('base64url')}`
}

describe('a requestState is refused', () => {
  const TAMPERED: [string, (state: string) => unknown][] = [
    ['with another byte in its nonce', (state) => flip(state, 0)],
    ['with another byte in its middle', (state) => flip(state, 40)],
    ['with another byte in its tag', (state) => flip(state, -1)],
    ['with the name of another key', (state) => state.replace(/^old/, 'new')],
    ['without the name of a key', (state) => state.replace(/^old/, '')],
    ['cut at its end', (state) => state.slice(0, -1)],
    ['cut at its beginning', (state) => state.slice(1)],
    ['cut to its key', () => 'old.'],
    ['with something after it', (state) => `${state}A`],
    ['twice', (state) => state + state],
    ['with padding', (state) => `${state}=`],
    ['in upper case', (state) => state.toUpperCase()],
    ['empty', () => ''],
    ['of text that never was one', () => 'no seal'],
    ['huge', () => `old.${'A'.repeat(900_000)}`],
    ['null', () => null],
    ['a number', () => 7],
    ['an object', () => ({ toString: 1 })],
    ['a list', (state) => [state]],
  ]
  test.each(TAMPERED)('%s', async (_name, change) => {
    const answer = await goOn(change(await begin()))
    expect(answer.error).toMatchObject({ code: -32602, data: { code: 'request_state_invalid', retryable: false } })
    expect(runs).toBe(0)
  })

  test('that is a seal made for something else: a session id, an id of a question', async () => {
    const client = await LegacyClient.open(node, '2025-11-25', ANN)
    const stream = await client.call(node, 'ask', ARGS)
    const { id } = await stream.question()
    runs = 0
    for (const seal of [client.session, id]) {
      expect((await goOn(seal)).error).toMatchObject({ data: { code: 'request_state_invalid' } })
      expect(runs).toBe(0)
    }
    await client.answer(node, id, { result: { action: 'cancel' } })
    await stream.answer()
  })

  test.each([
    ['another subject', { 'x-user': 'bob' }],
    ['another tenant', { 'x-tenant': 'acme' }],
  ])('of %s', async (_name, headers) => {
    const answer = await goOn(await begin(), { headers })
    expect(answer.error).toMatchObject({ code: -32602, data: { code: 'request_state_foreign', retryable: false } })
    expect(runs).toBe(0)
  })

  test.each([
    ['another tool', { name: 'other' }],
    ['other arguments', { args: { ...ARGS, a: 2 } }],
    ['other arguments within arguments', { args: { a: 1, b: { c: 2, d: 4 } } }],
    ['fewer arguments', { args: { a: 1 } }],
    ['more arguments', { args: { ...ARGS, z: 0 } }],
  ])('of a call with %s', async (_name, more) => {
    const answer = await goOn(await begin(), more)
    expect(answer.error).toMatchObject({ code: -32602, data: { code: 'request_state_mismatch', retryable: false } })
    expect(runs).toBe(0)
  })

  test('once it has expired, by a millisecond; before that it is good', async () => {
    const state = await begin()
    const other = await begin()
    await nodes.clock.advance(TTL_MS)
    expect(textOf(await goOn(state))).toBe('1 Ann')
    await nodes.clock.advance(1)
    runs = 0
    expect((await goOn(other)).error).toMatchObject({
      code: -32602,
      data: { code: 'request_state_expired', retryable: false },
    })
    expect((await goOn(state)).error).toMatchObject({ data: { code: 'request_state_expired' } })
    expect(runs).toBe(0)
  })

  test('in another method of the same name', async () => {
    const { error } = await modern(node, {
      method: 'prompts/get',
      params: { name: 'ask', requestState: await begin() },
      ...ANN,
    })
    expect(error).toBeDefined()
    expect(runs).toBe(0)
  })
})

test('the order of the arguments does not matter', async () => {
  expect(textOf(await goOn(await begin(), { args: { b: { d: 3, c: 2 }, a: 1 } }))).toBe('1 Ann')
})

test('a token may rotate meanwhile: who the caller is counts, not what it showed', async () => {
  expect(textOf(await goOn(await begin(), { headers: { 'x-user': 'ann', authorization: 'Bearer another' } }))).toBe(
    '1 Ann',
  )
})

describe('keys rotate', () => {
  test('what was sealed with the old key opens as long as the ring has it, and new states use the new key', async () => {
    const both = await nodes.start({ keys: `${NEW},${OLD}` })
    const state = await begin()
    expect(textOf(await goOn(state, { at: both }))).toBe('1 Ann')
    const fresh = await begin(both)
    expect(fresh).toMatch(/^new\./)
    const only = await nodes.start({ keys: NEW })
    expect(textOf(await goOn(fresh, { at: only }))).toBe('1 Ann')
  })

  test('and what the ring no longer opens was not made by this server', async () => {
    const state = await begin()
    for (const keys of [NEW, generateKeys(), key('old')]) {
      const other = await nodes.start({ keys })
      expect((await goOn(state, { at: other })).error).toMatchObject({ data: { code: 'request_state_invalid' } })
    }
    expect(runs).toBe(0)
  })
})

describe('answers', () => {
  test.each([null, [], 'who', 7, true])(
    'that are %j and no object are refused before anything runs',
    async (inputResponses) => {
      const state = await begin()
      for (const leg of [{ inputResponses }, { inputResponses, requestState: state }]) {
        const { error } = await callModern(node, 'ask', ARGS, leg, ANN)
        expect(error).toMatchObject({ code: -32602, data: { code: 'invalid_params' } })
      }
      expect(runs).toBe(0)
    },
  )

  test.each([
    ['missing', {}],
    ['under another key', { where: accept({ name: 'Ann' }) }],
    ['null', { who: null }],
    ['without an action', { who: { content: { name: 'Ann' } } }],
    ['with an action that there is not', { who: { action: 'yes' } }],
    ['that do not fit', { who: accept({ name: 7 }) }],
    ['without content', { who: { action: 'accept' } }],
    ['that are a prototype', JSON.parse('{"__proto__": {"who": {"action": "decline"}}}') as Json],
  ])('%s are asked again, with a new state', async (_name, inputResponses) => {
    const state = await begin()
    const { result } = await callModern(node, 'ask', ARGS, { requestState: state, inputResponses }, ANN)
    expect(result).toMatchObject({
      resultType: 'input_required',
      inputRequests: { who: { method: 'elicitation/create' } },
    })
    expect(result!.requestState).not.toBe(state)
    expect(textOf(await goOn(result!.requestState))).toBe('1 Ann')
  })

  test('without a state are taken under the name that is asked', async () => {
    const answer = await callModern(node, 'ask', ARGS, { inputResponses: { ...ANSWERS, unknown: 1 } }, ANN)
    expect(textOf(answer)).toBe('1 Ann')
  })
})
