import { expect, test } from 'vitest'
import { Ringer } from '../../src/tasks/ringer.ts'

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** A queue whose rings end when the test says so. */
function stage() {
  const rings: { queue: string; ids: readonly string[]; end: PromiseWithResolvers<void> }[] = []
  const errors: unknown[] = []
  const queue = {
    ring(name: string, ids: readonly string[]): Promise<void> {
      const end = Promise.withResolvers<void>()
      rings.push({ queue: name, ids, end })
      return end.promise
    },
  }
  return { ringer: new Ringer(queue, (error) => errors.push(error)), rings, errors }
}

test('what comes in one turn leaves together, each queue by itself', async () => {
  const { ringer, rings } = stage()
  for (const id of ['a', 'b', 'c']) ringer.ring('one', id)
  ringer.ring('two', 'd')
  expect(rings).toHaveLength(0)
  await turn()
  expect(rings.map(({ queue, ids }) => [queue, ids])).toEqual([
    ['one', ['a', 'b', 'c']],
    ['two', ['d']],
  ])
})

test('while four are under way the next ones gather, and leave when one has ended', async () => {
  const { ringer, rings } = stage()
  for (let index = 0; index < 10; index++) {
    ringer.ring('one', String(index))
    await turn()
  }
  expect(rings.map(({ ids }) => ids)).toEqual([['0'], ['1'], ['2'], ['3']])
  rings[2]!.end.resolve()
  await turn()
  await turn()
  expect(rings[4]!.ids).toEqual(['4', '5', '6', '7', '8', '9'])
})

test('a thousand ids wait for a broker that does not answer, and no more', async () => {
  const { ringer, rings } = stage()
  for (let index = 0; index < 4; index++) {
    ringer.ring('one', 'first')
    await turn()
  }
  for (let index = 0; index < 5000; index++) ringer.ring('one', String(index))
  for (const { end } of rings) end.resolve()
  await turn()
  await turn()
  expect(rings[4]!.ids).toHaveLength(1000)
})

test('a broker that is away is reported once, and again after it was back', async () => {
  const { ringer, rings, errors } = stage()
  const ring = async (settle: (end: PromiseWithResolvers<void>) => void): Promise<void> => {
    ringer.ring('one', 'a')
    await turn()
    settle(rings.at(-1)!.end)
    await turn()
  }
  const away = new Error('away')
  for (let index = 0; index < 3; index++) await ring((end) => end.reject(away))
  expect(errors).toEqual([away])
  await ring((end) => end.resolve())
  await ring((end) => end.reject(away))
  expect(errors).toEqual([away, away])
})
