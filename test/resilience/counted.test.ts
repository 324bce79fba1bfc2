import { expect, test } from 'vitest'
import { toolError } from '../../src/index.ts'
import { guardsAt, networkError, plain, turn } from './support.ts'

const status = (code: number, headers = {}): Error => Object.assign(new Error(`${code}`), { status: code, headers })

/** What a breaker that opens at the first failure makes of an error. */
async function stateAfter(error: unknown): Promise<string | undefined> {
  const { guards } = guardsAt()
  const api = plain({ breaker: { consecutiveFailures: 1 } })
  const work = (): never => {
    throw error
  }
  await expect(guards.use(api, work, {}, {})).rejects.toBe(error)
  return guards.list()[0]!.breaker
}

test.each([
  ['a connection that was refused', networkError('ECONNREFUSED')],
  ['no such host', networkError('ENOTFOUND')],
  ['connecting that timed out', networkError('UND_ERR_CONNECT_TIMEOUT')],
  ['a connection that was lost', networkError('ECONNRESET')],
  ['a time-out of the platform', new DOMException('late', 'TimeoutError')],
  ['500', status(500)],
  ['502', status(502)],
  ['503', status(503)],
  ['503 that says when to come again', status(503, { 'retry-after': '1' })],
  ['504', status(504)],
])('the breaker counts %s', async (_what, error) => {
  expect(await stateAfter(error)).toBe('open')
})

test.each([
  ['429', status(429)],
  ['429 that says when to come again', status(429, { 'retry-after': '1' })],
  ['408', status(408)],
  ['400', status(400)],
  ['401', status(401)],
  ['404', status(404)],
  ['501', status(501)],
  ['505', status(505)],
  ['a fault of the handler', new TypeError('x is not a function')],
  ['what the model should read', toolError('There is no such customer.')],
  ['a constraint of a database', networkError('23505')],
  ['what is no error', 'text'],
])('the breaker does not count %s', async (_what, error) => {
  expect(await stateAfter(error)).toBe('closed')
})

test('the breaker counts neither a caller that went away nor a use that found no place', async () => {
  const { guards } = guardsAt()
  const api = plain({ breaker: { consecutiveFailures: 1 }, bulkhead: { maxConcurrent: 1, maxQueue: 0 } })
  const leaver = new AbortController()
  const left = guards.use(api, () => new Promise(() => undefined), {}, { signal: leaver.signal })
  const full = guards.use(api, () => 1, {}, {})
  await expect(full).rejects.toMatchObject({ code: 'dependency_unavailable' })
  leaver.abort(new Error('gone'))
  await expect(left).rejects.toThrow('gone')
  await turn()
  expect(guards.list()).toMatchObject([{ breaker: 'closed' }])
})
