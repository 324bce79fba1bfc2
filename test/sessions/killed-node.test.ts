import { join } from 'node:path'
import { expect, test } from 'vitest'
import { startNodes } from '../cluster/nodes.ts'
import { sharedServer } from '../servers/shared.ts'
import { Events, get, open, post } from './support.ts'

const redis = await sharedServer('redis')
const definition = join(import.meta.dirname, '../cluster/fixture.ts')

test('a node that is killed strands no session: its streams go on elsewhere, and what ran on it says "call again"', async () => {
  const env = { HOLDFAST_STATE_URL: `${redis.url}?prefix=killed-${process.pid}:` }
  const [one, two] = await startNodes(2, { definition, env })
  await using _one = one!
  await using _two = two!
  const session = await open(one!)
  const standAlone = await new Events(await get(one!, session)).start()
  const subscribe = { id: 1, method: 'resources/subscribe', params: { uri: 'board://one' } }
  expect((await post(two!, subscribe, session)).status).toBe(200)
  const count = { name: 'count', arguments: { to: 10_000, everyMs: 20 }, _meta: { progressToken: 'p' } }
  const call = await new Events(await post(one!, { id: 2, method: 'tools/call', params: count }, session)).until(3)

  await one!.process.kill()
  await expect(call.end()).rejects.toThrow()
  await expect(standAlone.end()).rejects.toThrow()
  const killedMs = performance.now()

  // The session goes on at once.
  const add = { id: 3, method: 'tools/call', params: { name: 'add', arguments: { a: 1, b: 2 } } }
  expect(await (await post(two!, add, session)).json()).toMatchObject({ result: { content: [{ text: '3' }] } })
  // So does its stand-alone stream: it says what may have changed, and then what changes.
  const again = new Events(await get(two!, session, standAlone.lastId))
  await again.until(3)
  expect(again.changes.toSorted()).toEqual(['board://one', 'resources', 'tools'])
  await (await post(two!, { id: 4, method: 'tools/call', params: { name: 'touch', arguments: {} } }, session)).json()
  expect((await again.until(4)).changes.at(-1)).toBe('board://one')
  await again.drop()
  // The call has nobody who runs it: told as soon as its node has not been heard of for long enough.
  const resumed = new Events(await get(two!, session, call.lastId))
  await resumed.end()
  const before = call.messages.at(-1)!.params!.progress!
  const progress = resumed.messages.flatMap(({ params }) => (params === undefined ? [] : [params.progress!]))
  expect(progress).toEqual(progress.map((_, index) => before + 1 + index))
  expect(resumed.messages.at(-1)).toMatchObject({
    id: 2,
    error: { code: -32603, data: { code: 'stream_interrupted', retryable: true } },
  })
  expect(performance.now() - killedMs).toBeLessThan(25_000)
}, 60_000)
