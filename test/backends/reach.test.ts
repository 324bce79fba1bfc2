import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Reach } from '../../src/backends/broker/reach.ts'

class Away extends Error {}
class Cancelled extends Error {}
const saysOf = (error: unknown): 'away' | 'there' | 'nothing' =>
  error instanceof Away ? 'away' : error instanceof Cancelled ? 'nothing' : 'there'
const gone = (): Promise<never> => Promise.reject(new Away('no answer'))
const there = (): Promise<string> => Promise.resolve('there')
const refusal = { code: 'backend_failed', message: "Db can't be reached. It is tried again within a second." }

let reach: Reach
beforeEach(() => {
  vi.useFakeTimers()
  reach = new Reach({ server: 'Db', saysOf })
})
afterEach(() => vi.useRealTimers())

/** Has it found to be away. */
async function lose(): Promise<void> {
  for (let use = 0; use < 3; use++) {
    await vi.advanceTimersByTimeAsync(1)
    await expect(reach.use(gone)).rejects.toBeInstanceOf(Away)
  }
}
/** Uses it every millisecond; how often it was really tried. */
async function triesWithin(ms: number, work: () => Promise<unknown> = gone): Promise<number> {
  let tries = 0
  for (let now = 0; now < ms; now++) {
    await vi.advanceTimersByTimeAsync(1)
    void reach
      .use(() => {
        tries++
        return work()
      })
      .catch(() => undefined)
  }
  return tries
}

test('after three failures in a row uses fail at once, with the last reason as their cause', async () => {
  await lose()
  const work = vi.fn(there)
  await expect(reach.use(work)).rejects.toMatchObject({ ...refusal, cause: { message: 'no answer' } })
  expect(work).not.toHaveBeenCalled()
})

test('two failures, an answer, and two failures more are no outage; nor are errors that the server has sent', async () => {
  for (const work of [gone, gone, there, gone, gone, () => Promise.reject(new Error('refused')), gone, gone]) {
    await vi.advanceTimersByTimeAsync(1)
    await reach.use(work).catch(() => undefined)
  }
  await expect(reach.use(there)).resolves.toBe('there')
})

test('a use that its caller has given up says nothing: neither that it is away, nor that it is there', async () => {
  const cancelled = (): Promise<never> => Promise.reject(new Cancelled())
  for (const work of [gone, cancelled, gone, cancelled, cancelled, gone]) {
    await vi.advanceTimersByTimeAsync(1)
    await reach.use(work).catch(() => undefined)
  }
  await expect(reach.use(there)).rejects.toMatchObject(refusal)
})

test('what began before an answer, and fails after it, says nothing', async () => {
  await vi.advanceTimersByTimeAsync(1)
  const late = Array.from({ length: 5 }, () => Promise.withResolvers<never>())
  const uses = late.map(({ promise }) => reach.use(() => promise).catch((error: unknown) => error))
  await vi.advanceTimersByTimeAsync(10)
  await reach.use(there)
  for (const { reject } of late) reject(new Away('too late'))
  await Promise.all(uses)
  await expect(reach.use(there)).resolves.toBe('there')
})

test('while it is away it is tried at most some times in the first second, and once or twice in each later one', async () => {
  await lose()
  const first = await triesWithin(1000)
  expect(first).toBeGreaterThanOrEqual(2)
  expect(first).toBeLessThanOrEqual(6)
  await triesWithin(3000)
  for (let second = 0; second < 10; second++) {
    const tries = await triesWithin(1000)
    expect(tries).toBeGreaterThanOrEqual(1)
    expect(tries).toBeLessThanOrEqual(2)
  }
})

test('a try that hangs holds up neither uses nor the next try', async () => {
  await lose()
  await triesWithin(5000)
  const never = (): Promise<never> => new Promise(() => undefined)
  expect(await triesWithin(1000, never)).toBeGreaterThanOrEqual(1)
  expect(await triesWithin(1000, never)).toBeGreaterThanOrEqual(1)
  // The slots of tries are used up for this half second at least.
  await expect(Promise.race([reach.use(never), reach.use(never)])).rejects.toMatchObject(refusal)
})

test('the first answer ends it, at once for all', async () => {
  await lose()
  await triesWithin(5000)
  await vi.advanceTimersByTimeAsync(1000)
  await expect(reach.use(there)).resolves.toBe('there')
  await expect(Promise.all([reach.use(there), reach.use(there)])).resolves.toEqual(['there', 'there'])
})

test('nodes that have lost it together do not try it together', async () => {
  const nodes = Array.from({ length: 20 }, () => new Reach({ server: 'Db', saysOf }))
  for (let use = 0; use < 3; use++) {
    await vi.advanceTimersByTimeAsync(1)
    for (const node of nodes) await node.use(gone).catch(() => undefined)
  }
  const atMs = new Set<number>()
  for (let now = 0; now < 5000; now++) {
    await vi.advanceTimersByTimeAsync(1)
    if (now < 4000) {
      for (const node of nodes) await node.use(gone).catch(() => undefined)
      continue
    }
    for (const node of nodes)
      await node
        .use(() => {
          atMs.add(now)
          return gone()
        })
        .catch(() => undefined)
  }
  expect(atMs.size).toBeGreaterThan(10)
})
