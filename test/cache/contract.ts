import { randomUUID } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { toolError } from '../../src/errors/holdfast-error.ts'
import { FakeClock } from '../../src/testing/index.ts'
import { eventually } from '../clients/eventually.ts'
import { entry, TestNode, Work, type Shared } from './nodes.ts'
import { openSetting, until, type OpenShared, type Setting } from './setting.ts'

/** What caches of several nodes do together, on a store and a bus. */
export function cacheContract(name: string, open: OpenShared): void {
  const setting = (): Promise<Setting> => openSetting(open)

  describe(`cache contract: ${name}`, () => {
    test('what was computed is there for the next caller and on other nodes, each time as a copy; the one who computed it gets no other', async () => {
      await using at = await setting()
      let computed = 0
      const compute = async (): Promise<unknown> => ({ list: [++computed], when: new Date(0), none: undefined })
      const first = await at.one.through(entry('a'), compute)
      const second = await at.one.through(entry('a'), compute)
      const third = await at.two.through(entry('a'), compute)
      expect([first.from, second.from, third.from]).toEqual(['computed', 'memory', 'store'])
      ;(first.value as { list: number[] }).list.push(7)
      const value = { list: [1], when: '1970-01-01T00:00:00.000Z' }
      expect([second.value, third.value]).toEqual([value, value])
      expect(await at.one.get(entry('a'), compute)).toEqual(value)
      expect(first.value).toEqual({ ...value, list: [1, 7] })
      expect(first.freshForMs).toBeGreaterThan(50_000)
    })

    test.each([
      ['undefined', undefined],
      ['null', null],
      ['an empty text', ''],
      ['no bytes', new Uint8Array(0)],
      ['bytes', Uint8Array.from({ length: 256 }, (_, index) => index)],
      ['a text of a megabyte, of which much is the same', 'abc '.repeat(262_144)],
      ['an object', { a: [1, { b: null }], '💣': '\u0000' }],
    ])('%s comes back as it was, from memory and from the store', async (_, value) => {
      await using at = await setting()
      for (const node of [at.one, at.one, at.two]) expect(await node.get(entry('v'), () => value)).toEqual(value)
      // The other node may have had to wait until it was stored.
      const sum = ({ told }: TestNode): number[] => [
        told.of('computed'),
        told.of('memory'),
        told.of('store') + told.of('waited'),
      ]
      expect([sum(at.one), sum(at.two)]).toEqual([
        [1, 1, 0],
        [0, 0, 1],
      ])
    })

    test.each([[undefined], [['a', 'b']]])(
      'a thousand callers on three nodes compute once (tags: %s)',
      async (tags) => {
        await using at = await setting()
        const work = new Work()
        const asked = Array.from({ length: 1000 }, (_, index) =>
          at.nodes[index % 3]!.get(entry('k', { tags }), work.compute),
        )
        await eventually(() => work.count).toBe(1)
        // The others have found that it is computed, and wait.
        await until(at.clock, () => at.clock.sleeping >= 4)
        work.finish(7)
        expect(new Set(await Promise.all(asked))).toEqual(new Set([7]))
        expect(work.count).toBe(1)
        expect(at.nodes.map(({ told }) => told.of('unled') + told.degraded)).toEqual([0, 0, 0])
      },
    )

    test('a value that has expired is given out stale for `staleMs`, while one node computes it anew; never beyond', async () => {
      await using at = await setting()
      const work = new Work()
      const asked = entry('s', { staleMs: 10_000 })
      for (const node of at.nodes) {
        const got = node.get(asked, work.compute)
        if (node === at.one) await eventually(() => work.count).toBe(1)
        work.finish(1)
        expect(await got).toBe(1)
      }
      await at.clock.advance(60_000)
      const stale = await Promise.all(
        Array.from({ length: 300 }, (_, index) => at.nodes[index % 3]!.through(asked, work.compute)),
      )
      expect(new Set(stale.map(({ value, from, freshForMs }) => `${value} ${from} ${freshForMs}`))).toEqual(
        new Set(['1 stale 0']),
      )
      await eventually(() => work.count).toBe(2)
      work.finish(2)
      await eventually(async () => {
        await at.clock.advance(50)
        return Promise.all(at.nodes.map((node) => node.get(asked, work.compute)))
      }).toEqual([2, 2, 2])
      expect(work.count).toBe(2)
      await at.clock.advance(70_000)
      const late = at.one.get(asked, work.compute)
      await eventually(() => work.count).toBe(3)
      work.finish(3)
      expect(await late).toBe(3)
    })

    test('where computing anew fails the old value is given out for `staleIfErrorMs`, and it is tried again after a second', async () => {
      await using at = await setting()
      const asked = entry('e', { staleIfErrorMs: 30_000 })
      let calls = 0
      const failing = (): number => {
        calls++
        throw new Error('down')
      }
      expect(await at.one.get(asked, () => 1)).toBe(1)
      await at.clock.advance(60_000)
      for (const node of [at.one, at.one, at.two]) {
        const found = await node.through(asked, failing)
        expect(found).toEqual({ value: 1, from: 'stale_if_error', freshForMs: 0 })
      }
      expect(calls).toBe(2) // once for each node, for now
      await at.clock.advance(1_000)
      expect(await at.one.get(asked, failing)).toBe(1)
      expect(calls).toBe(3)
      await at.clock.advance(30_000)
      await expect(at.one.get(asked, failing)).rejects.toThrow('down')
    })

    test('a failure is not kept, but that it was asked for: then all nodes give it, for that time, and none that passes', async () => {
      await using at = await setting()
      let calls = 0
      const failing = (): never => {
        calls++
        throw toolError(`no such thing (${calls})`)
      }
      for (const node of [at.one, at.one, at.two])
        await expect(node.get(entry('f'), failing)).rejects.toThrow('no such')
      expect(calls).toBe(3)
      const asked = entry('f', { negativeTtlMs: 5_000 })
      const error: unknown = await at.one.get(asked, failing).catch((thrown: unknown) => thrown)
      for (const node of [at.one, at.two]) await expect(node.get(asked, failing)).rejects.toEqual(error)
      expect(calls).toBe(4)
      await at.clock.advance(5_000)
      await expect(at.two.get(asked, failing)).rejects.toThrow('(5)')
    })

    test('a partition, a name, a version or another server sees nothing of what is another’s', async () => {
      await using at = await setting()
      const others = [
        {},
        { partition: 'ada' },
        { partition: 'bob' },
        { cache: 'other' },
        { version: '2' },
        { key: ['k'] },
        { key: 1 },
        { key: '1' },
      ]
      const values = await Promise.all(others.map((other, index) => at.one.get(entry('k', other), () => index)))
      expect(values).toEqual(Array.from(others.keys()))
      const again = await Promise.all(others.map((other) => at.two.get(entry('k', other), () => -1)))
      expect(again).toEqual(values)
      const shared = await open()
      await using foreign = await TestNode.start(shared, { clock: at.clock, server: `foreign-${randomUUID()}` })
      expect(await foreign.get(entry('k', { partition: 'ada' }), () => -1)).toBe(-1)
      await foreign.cache.close()
      await shared.close()
    })

    test('after an invalidation nothing is given out that was computed before, on any node, though no message arrives', async () => {
      await using at = await setting()
      let computed = 0
      const ask = (node: TestNode): Promise<number> => node.get(entry('i', { tags: ['x', 'y'] }), () => ++computed)
      for (const mute of [false, true]) {
        at.faults.isMute = mute
        const before = await ask(at.one)
        expect([await ask(at.two), await ask(at.one)]).toEqual([before, before])
        await at.one.cache.invalidate(['y'])
        expect([await ask(at.two), await ask(at.one)]).toEqual([before + 1, before + 1])
        await at.two.cache.invalidate(['z'])
        expect(await ask(at.one)).toBe(before + 1)
        await at.two.cache.invalidate(['x', 'z'])
        expect(await ask(at.one)).toBe(before + 2)
      }
    })

    test('with `staleMs` a node trusts what it knows of tags for so long, or until it is told', async () => {
      await using at = await setting()
      let computed = 0
      const asked = entry('t', { tags: ['x'], staleMs: 5_000 })
      const ask = (node: TestNode): Promise<number> => node.get(asked, () => ++computed)
      expect([await ask(at.one), await ask(at.two)]).toEqual([1, 1])
      at.faults.isMute = true
      await at.one.cache.invalidate(['x'])
      expect([await ask(at.two), await ask(at.one)]).toEqual([1, 2])
      await at.clock.advance(5_000)
      expect(await ask(at.two)).toBe(2)
      at.faults.isMute = false
      await at.one.cache.invalidate(['x'])
      await eventually(() => ask(at.two)).toBe(3)
    })

    test('who asks after an invalidation does not wait for what was begun before it, and never finds it', async () => {
      await using at = await setting()
      const slow = new Work()
      const asked = entry('w', { tags: ['x'] })
      const early = [at.one.get(asked, slow.compute), at.two.get(asked, slow.compute)]
      await eventually(() => slow.count).toBe(1)
      await at.two.cache.invalidate(['x'])
      expect(await at.one.get(asked, () => 2)).toBe(2)
      expect(await at.two.get(asked, () => 3)).toBe(2)
      slow.finish(1)
      expect(await early[0]).toBe(1)
      let last: number | undefined
      void early[1]!.then((value) => (last = value))
      await until(at.clock, () => last !== undefined)
      expect(last).toBe(2)
      expect(slow.count).toBe(1)
      for (const node of at.nodes) expect(await node.get(asked, () => 4)).toBe(2)
    })

    test('generations that the store has lost invalidate: no old value comes back', async () => {
      const shared = await open()
      const deleted: string[] = []
      const clock = new FakeClock()
      const keeping: Shared = {
        bus: shared.bus,
        state: new Proxy(shared.state, {
          get: (target, property) => {
            const method = Reflect.get(target, property) as (...args: unknown[]) => unknown
            return (...args: unknown[]) => {
              if (property === 'compareAndSet') deleted.push(args[0] as string)
              return method.apply(target, args)
            }
          },
        }),
      }
      await using node = await TestNode.start(keeping, { clock, server: `lost-${Date.now()}` })
      const asked = entry('g', { tags: ['x'] })
      expect(await node.get(asked, () => 1)).toBe(1)
      expect(await shared.state.delete(deleted)).toBe(1)
      expect(await node.get(asked, () => 2)).toBe(2)
      expect(await node.get(asked, () => 3)).toBe(2)
      await node.cache.close()
      await shared.close()
    })

    test('a bell that is lost costs a follower a look of its own, no more', async () => {
      await using at = await setting()
      at.faults.isMute = true
      const work = new Work()
      const first = at.one.get(entry('b'), work.compute)
      await eventually(() => work.count).toBe(1)
      const second = at.two.through(entry('b'), work.compute)
      await eventually(() => at.clock.sleeping).toBeGreaterThanOrEqual(3)
      work.finish(1)
      expect(await first).toBe(1)
      await until(at.clock, () => at.two.told.of('waited') === 1)
      expect(await second).toMatchObject({ value: 1, from: 'waited' })
      expect(work.count).toBe(1)
    })

    test('where the leader fails another node computes; where it never lands, after `maxFlightMs`, and that is counted', async () => {
      await using at = await setting()
      const work = new Work()
      const asked = entry('l', { maxFlightMs: 3_000 })
      const failed = at.one.get(asked, work.compute)
      await eventually(() => work.count).toBe(1)
      const taken = at.two.get(asked, work.compute)
      await eventually(() => at.clock.sleeping).toBeGreaterThanOrEqual(3)
      work.fail(new Error('broken'))
      await expect(failed).rejects.toThrow('broken')
      await until(at.clock, () => work.count === 2)
      work.finish(2)
      expect(await taken).toBe(2)

      const stuck = entry('stuck', { maxFlightMs: 3_000 })
      const never = at.one.get(stuck, work.compute)
      await eventually(() => work.count).toBe(3)
      const settled: number[] = []
      for (const got of [at.one.get(stuck, () => 4), at.two.get(stuck, () => 5)])
        void got.then((value) => settled.push(value))
      await until(at.clock, () => settled.length === 2)
      expect(at.one.told.of('unled') + at.two.told.of('unled')).toBeGreaterThan(0)
      work.finish(3)
      expect(await never).toBe(3)
    })

    test('a caller that goes away ends nothing for the others; with the last one the computing is told', async () => {
      await using at = await setting()
      const work = new Work()
      const [first, second] = [new AbortController(), new AbortController()]
      const gone = at.one.get(entry('c'), work.compute, first.signal)
      await eventually(() => work.count).toBe(1)
      const stays = at.one.get(entry('c'), work.compute, second.signal)
      await new Promise((resolve) => setTimeout(resolve, 5))
      first.abort(new Error('gone'))
      await expect(gone).rejects.toThrow('gone')
      expect(work.started[0]!.signal.aborted).toBe(false)
      work.finish(1)
      expect(await stays).toBe(1)

      const alone = new AbortController()
      const left = at.one.get(entry('d'), work.compute, alone.signal)
      await eventually(() => work.count).toBe(2)
      alone.abort(new Error('left'))
      await expect(left).rejects.toThrow('left')
      expect(work.started[1]!.signal.aborted).toBe(true)
      // What ended so is not kept, and nobody joins it.
      let next: number | undefined
      void at.one.get(entry('d'), () => 3).then((value) => (next = value))
      await until(at.clock, () => next !== undefined)
      expect(next).toBe(3)
      work.finish(2)
      expect(await at.two.get(entry('d'), () => 4)).toBe(3)
    })

    test('what fails since its caller has gone is computed by one who still waits', async () => {
      await using at = await setting()
      const work = new Work()
      const caller = new AbortController()
      const gone = at.one.get(entry('o'), work.compute, caller.signal)
      await eventually(() => work.count).toBe(1)
      const stays = at.one.get(entry('o'), () => 2)
      await new Promise((resolve) => setTimeout(resolve, 5))
      caller.abort(new Error('gone'))
      work.fail(new Error('its request has ended'))
      await expect(gone).rejects.toThrow('gone')
      expect(await stays).toBe(2)
    })

    test('a batch is looked for in one go, finds what is there, and keeps what it computes, but for what was invalidated since', async () => {
      await using at = await setting()
      const { anyCodec } = await import('../../src/cache/codec.ts')
      const entries = Array.from({ length: 50 }, (_, index) => entry(index, { tags: [`t${index % 5}`] }))
      const seeded = await at.one.cache.lookup([entries[3]!, entries[7]!], anyCodec)
      await Promise.all(seeded.map((slot, index) => slot.store(`one ${[3, 7][index]}`)))
      const slots = await at.two.cache.lookup(entries, anyCodec)
      expect(
        slots.flatMap(({ found }, index) => (found === undefined ? [] : [[index, found.value, found.from]])),
      ).toEqual([
        [3, 'one 3', 'store'],
        [7, 'one 7', 'store'],
      ])
      await at.one.cache.invalidate(['t1'])
      await Promise.all(
        slots.map(async (slot, index) => (slot.found === undefined ? slot.store(`two ${index}`) : undefined)),
      )
      const again = await at.one.cache.lookup(entries, anyCodec)
      expect(again.flatMap(({ found }, index) => (found === undefined ? [index] : []))).toEqual(
        entries.flatMap((_, index) => (index % 5 === 1 ? [index] : [])),
      )
      expect([3, 4].map((index) => again[index]!.found!.value)).toEqual(['one 3', 'two 4'])
      const plain = [entry('plain')]
      await (await at.one.cache.lookup(plain, anyCodec))[0]!.store('x')
      expect((await at.one.cache.lookup(plain, anyCodec))[0]!.found).toMatchObject({ value: 'x', from: 'memory' })
    })

    test('without the store each node computes once, memory goes on, and what can not be checked is neither given out nor kept', async () => {
      await using at = await setting()
      expect(await at.one.get(entry('known', { tags: ['x'] }), () => 1)).toBe(1)
      expect(await at.one.get(entry('plain'), () => 1)).toBe(1)
      at.faults.fault = 'error-before'
      await expect(at.one.cache.invalidate(['x'])).rejects.toMatchObject({ code: 'state_unavailable' })
      const work = new Work()
      const asked = Array.from({ length: 300 }, (_, index) => at.nodes[index % 3]!.get(entry('n'), work.compute))
      await eventually(() => work.count).toBe(3)
      for (const { ready } of work.started) ready.resolve(7)
      expect(new Set(await Promise.all(asked))).toEqual(new Set([7]))
      expect(work.count).toBe(3)
      expect(at.nodes.map(({ told }) => told.of('unled'))).toEqual([1, 1, 1])
      expect(at.one.told.degraded).toBeGreaterThan(0)
      expect(await at.one.get(entry('n'), () => 8)).toBe(7)
      expect(await at.one.get(entry('plain'), () => 2)).toBe(1)
      for (const value of [2, 3]) expect(await at.one.get(entry('known', { tags: ['x'] }), () => value)).toBe(value)
      at.faults.fault = undefined
      expect(await at.two.get(entry('known', { tags: ['x'] }), () => 4)).toBe(1)
      expect(await at.one.get(entry('known', { tags: ['x'] }), () => 5)).toBe(1)
    })

    test('answers of the store that are lost cost work, and nothing else', async () => {
      await using at = await setting()
      at.faults.fault = 'time-out-after'
      expect(await at.one.get(entry('r'), () => 1)).toBe(1)
      await expect(at.one.cache.invalidate(['x'])).rejects.toMatchObject({ code: 'state_unavailable' })
      at.faults.fault = undefined
      await at.one.cache.invalidate(['x'])
      expect(await at.two.get(entry('r'), () => 2)).toBe(1)
    })
  })
}
