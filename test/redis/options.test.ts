import { expect, test, vi } from 'vitest'
import { MemoryStateStore } from '../../src/backends/memory/state-store.ts'
import { resolveOptions } from '../../src/compose/options.ts'
import { systemClock } from '../../src/ports/clock.ts'

const stateOf = (code: Parameters<typeof resolveOptions>[0], env: Record<string, string>) =>
  resolveOptions(code, env).state

test('state is in memory, unless something says otherwise: HOLDFAST_STATE_URL before REDIS_URL before code', () => {
  const code = { state: 'redis://code' }
  expect(stateOf({}, {})).toBe('memory:')
  expect(stateOf(code, {})).toBe('redis://code')
  expect(stateOf(code, { REDIS_URL: 'redis://generic' })).toBe('redis://generic')
  const both = { REDIS_URL: 'redis://generic', HOLDFAST_STATE_URL: 'redis://ours' }
  expect(stateOf(code, both)).toBe('redis://ours')
  expect(stateOf({}, { ...both, HOLDFAST_STATE_URL: 'memory:' })).toBe('memory:')
})

test('a store of its own is not replaced by a variable', () => {
  const state = new MemoryStateStore(systemClock)
  expect(stateOf({ state }, { REDIS_URL: 'redis://generic', HOLDFAST_STATE_URL: 'redis://ours' })).toBe(state)
})

test('a REDIS_URL of another scheme is passed over with a warning that does not hold its password', () => {
  const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
  expect(stateOf({}, { REDIS_URL: 'unix://:secret@/tmp/redis.sock' })).toBe('memory:')
  expect(warn.mock.calls.map(([text]) => text)).toEqual([expect.stringMatching(/^REDIS_URL is ignored.*"unix:"/)])
  expect(JSON.stringify(warn.mock.calls)).not.toContain('secret')
  warn.mockRestore()
})

test.each([
  ['HOLDFAST_STATE_URL', 'postgres://:secret@h', 'HOLDFAST_STATE_URL has the scheme "postgres:"; there are memory:'],
  ['HOLDFAST_STATE_URL', 'redis://:secret@h/x', 'the database is a whole number'],
  ['REDIS_URL', 'redis://:secret@h?ssl=1', 'has the option "ssl"'],
])('%s=%s is a mistake, told without its password', (name, url, reason) => {
  const resolve = (): unknown => stateOf({}, { [name]: url })
  expect(resolve).toThrowError(reason)
  expect(resolve).toThrowError(expect.not.objectContaining({ message: expect.stringContaining('secret') as string }))
})

test('a state that is neither a URL nor a store is refused', () => {
  expect(() => stateOf({ state: 5 as never }, {})).toThrowError('it must be a URL, or a StateStore')
})
