import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { Gatherer } from '../../src/backends/sql/gatherer.ts'
import { fromText, toText } from '../../src/backends/sql/text.ts'

test('any string comes back from a text column, which never sees what it can not hold', () => {
  const unit = fc.oneof(fc.integer({ min: 0, max: 0xffff }), fc.constantFrom(0, 1, 0xd800, 0xdfff, 0x30, 0x31))
  fc.assert(
    fc.property(fc.array(unit, { maxLength: 40 }), (units) => {
      const text = String.fromCharCode(...units)
      const stored = toText(text)
      expect(stored).not.toContain('\0')
      expect(stored.isWellFormed()).toBe(true)
      expect(fromText(stored)).toBe(text)
    }),
  )
})

/** A gatherer whose batches end when the test says so. */
function gathered(maxInFlight: number) {
  const batches: { items: readonly number[]; end: (outcomes: (number | Error)[] | Error) => void }[] = []
  const gatherer = new Gatherer<number, number>({
    maxInFlight,
    maxItems: 3,
    maxBytes: 100,
    maxWaitMs: 0,
    sizeOf: (one) => one,
    isOnesFault: (error) => (error as Error).message === 'fault',
    send: (items) =>
      new Promise((resolve, reject) => {
        batches.push({ items, end: (outcomes) => (outcomes instanceof Error ? reject(outcomes) : resolve(outcomes)) })
      }),
  })
  return { batches, add: (one: number) => gatherer.add(one) }
}
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(() => setImmediate(resolve)))

test('what comes while a batch is under way goes out with the next one, within its bounds', async () => {
  const { batches, add } = gathered(1)
  const first = add(1)
  await turn()
  const others = [add(2), add(3), add(4), add(5), add(99), add(98)]
  await turn()
  expect(batches.map(({ items }) => items)).toEqual([[1]])
  batches[0]!.end([10])
  expect(await first).toBe(10)
  for (let index = 1; index < 5; index++) {
    await turn()
    batches[index]!.end(batches[index]!.items.map((one) => one * 10))
  }
  expect(batches.map(({ items }) => items)).toEqual([[1], [2, 3, 4], [5], [99], [98]])
  expect(await Promise.all(others)).toEqual([20, 30, 40, 50, 990, 980])
})

test('an error of one is its own; an error of the batch is everybody’s', async () => {
  const { batches, add } = gathered(1)
  const mixed = Promise.allSettled([add(1), add(2)])
  await turn()
  batches[0]!.end([new Error('mine'), 20])
  expect((await mixed).map(({ status }) => status)).toEqual(['rejected', 'fulfilled'])
  const lost = Promise.allSettled([add(3), add(4)])
  await turn()
  batches[1]!.end(new Error('the connection broke'))
  expect((await lost).map(({ status }) => status)).toEqual(['rejected', 'rejected'])
  expect(batches).toHaveLength(2)
})

test('what has waited for too long behind a batch that fails, fails with it', async () => {
  const { batches, add } = gathered(1)
  const results = [add(1)]
  await turn()
  results.push(add(2), add(3))
  await turn()
  batches[0]!.end(new Error('nobody answers'))
  expect((await Promise.allSettled(results)).map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected'])
  expect(batches).toHaveLength(1)
  const next = add(4)
  await turn()
  batches[1]!.end([40])
  expect(await next).toBe(40)
})

test('a batch that one of it has spoilt is tried one by one', async () => {
  const { batches, add } = gathered(1)
  const results = Promise.allSettled([add(1), add(2)])
  await turn()
  batches[0]!.end(new Error('fault'))
  await turn()
  batches[1]!.end(new Error('fault'))
  await turn()
  batches[2]!.end([20])
  expect(await results).toEqual([
    { status: 'rejected', reason: new Error('fault') },
    { status: 'fulfilled', value: 20 },
  ])
})
