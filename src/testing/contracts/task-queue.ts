import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import type { QueueListener, TaskQueue } from '../../ports/task-queue.ts'
import type { TestRunner } from './suite.ts'

/** Two ends of one broker, as two processes see it; within a process both may be the same. */
export interface TaskQueueFixture {
  readonly here: TaskQueue
  readonly there: TaskQueue
  /** So often a message comes whose listener rejects; small, since the suite waits for it. */
  readonly maxDeliveries: number
}

/** What only some set-ups can do; the tests for the rest are not there. */
export interface TaskQueueOptions {
  /** A queue on the same broker that needs other settings of what it declares. */
  readonly differing?: () => Promise<TaskQueue>
  /** How many dead letters of a queue there are. */
  readonly deadLetters?: (queue: string) => Promise<number>
  /** Stops and starts the broker, without loss of what it has confirmed. */
  readonly outage?: { stop(): Promise<void>; start(): Promise<void> }
  /** A bell reaches whoever listens at that moment, and nobody later: what is about waiting bells is not tested. Default false. */
  readonly isFleeting?: boolean
  /** Longer than the broker waits for a client that says nothing. Default 3000. */
  readonly quietMs?: number
  /** For a message to come at all, again after a lost listener included. Default 30000. */
  readonly patienceMs?: number
}

interface Heard {
  readonly queue: string
  readonly taskIds: readonly string[]
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** What every {@link TaskQueue} must do. Queues are unique to each test, so that a shared broker may be used. */
export function taskQueueContract(
  runner: TestRunner,
  name: string,
  create: () => Promise<TaskQueueFixture>,
  { differing, deadLetters, outage, isFleeting = false, quietMs = 3000, patienceMs = 30_000 }: TaskQueueOptions = {},
): void {
  const { describe, test, beforeEach, afterEach } = runner
  describe(`task queue contract: ${name}`, () => {
    let here: TaskQueue
    let there: TaskQueue
    let maxDeliveries: number
    let queue: string
    beforeEach(async () => {
      ;({ here, there, maxDeliveries } = await create())
      queue = `contract-${randomUUID()}`
    })
    afterEach(async () => {
      await here.close()
      await there.close()
    })

    const until = async (what: string, isTrue: () => boolean | Promise<boolean>): Promise<void> => {
      const deadline = performance.now() + patienceMs
      while (!(await isTrue())) {
        assert.ok(performance.now() < deadline, `${what} did not come about within ${patienceMs} ms`)
        await sleep(20)
      }
    }
    const ids = (count: number): string[] => Array.from({ length: count }, () => randomUUID())
    const heardIds = (bells: readonly Heard[]): string[] => [...new Set(bells.flatMap(({ taskIds }) => taskIds))].sort()
    /** Listens, and keeps what it heard. */
    const hear = async (
      end: TaskQueue,
      queues: readonly string[],
      act: (bell: Heard) => Promise<void> = async () => undefined,
      credits = 10,
    ): Promise<{ bells: Heard[]; listener: QueueListener; hasHeard(wanted: readonly string[]): Promise<void> }> => {
      const bells: Heard[] = []
      const onRing = async (bell: Heard): Promise<void> => {
        bells.push(bell)
        await act(bell)
      }
      const listener = await end.listen(queues, onRing, { credits })
      const hasHeard = (wanted: readonly string[]): Promise<void> =>
        until('Every bell having been heard', () => {
          const heard = heardIds(bells)
          return wanted.every((id) => heard.includes(id))
        })
      return { bells, listener, hasHeard }
    }

    test('a ring reaches who listens to its queue, with its ids, and nobody who listens to another', async () => {
      const other = `${queue}-other`
      await here.ensureTopology([queue, other])
      const one = await hear(there, [queue])
      const two = await hear(there, [other])
      const [first, second] = [ids(1), ids(25)]
      await here.ring(queue, first)
      await here.ring(other, second)
      await one.hasHeard(first)
      await two.hasHeard(second)
      assert.ok(one.bells.every((bell) => bell.queue === queue))
      assert.deepEqual([heardIds(one.bells), heardIds(two.bells)], [first, second.toSorted()])
    })

    test('one listener may have several queues', async () => {
      const other = `${queue}-other`
      await here.ensureTopology([queue, other])
      const [first, second] = [ids(2), ids(2)]
      const one = await hear(there, [queue, other])
      await here.ring(queue, first)
      await here.ring(other, second)
      await one.hasHeard([...first, ...second])
    })

    if (!isFleeting)
      test('a ring waits for who listens later', async () => {
        await here.ensureTopology([queue])
        const wanted = ids(2)
        await here.ring(queue, wanted)
        const one = await hear(there, [queue])
        await one.hasHeard(wanted)
      })

    test('a ring without an id is a ring', async () => {
      await here.ensureTopology([queue])
      const one = await hear(there, [queue])
      await here.ring(queue, [])
      await until('The bell', () => one.bells.length > 0)
      assert.deepEqual(one.bells[0], { queue, taskIds: [] })
    })

    test('of several listeners each bell reaches at least one, and all are heard', async () => {
      await here.ensureTopology([queue])
      const one = await hear(here, [queue])
      const two = await hear(there, [queue])
      const wanted = ids(60)
      for (const id of wanted) await here.ring(queue, [id])
      await until('All bells', () => heardIds([...one.bells, ...two.bells]).length === wanted.length)
      assert.deepEqual(heardIds([...one.bells, ...two.bells]), wanted.toSorted())
    })

    test('a bell whose listener has answered does not come again', async () => {
      await here.ensureTopology([queue])
      const one = await hear(there, [queue])
      const wanted = ids(3)
      await here.ring(queue, wanted)
      await one.hasHeard(wanted)
      await sleep(300) // the acknowledgement is on its way
      await one.listener.close()
      const two = await hear(there, [queue])
      const last = ids(1)
      await here.ring(queue, last)
      await two.hasHeard(last)
      assert.deepEqual(heardIds(two.bells), last)
    })

    test('a bell whose listener rejects comes again, and then no more once it was answered', async () => {
      await here.ensureTopology([queue])
      let refusals = 0
      const one = await hear(there, [queue], async () => {
        if (++refusals < maxDeliveries) throw new Error('not now')
      })
      await here.ring(queue, ids(1))
      await until('The answer', () => one.bells.length === maxDeliveries)
      await sleep(1500)
      assert.equal(one.bells.length, maxDeliveries)
    })

    test('a bell that is always refused comes a bounded number of times, and does not stop the next', async () => {
      await here.ensureTopology([queue])
      const [bad, good] = [ids(1), ids(1)]
      const one = await hear(there, [queue], async ({ taskIds }) => {
        if (taskIds[0] === bad[0]) throw new Error('never')
      })
      await here.ring(queue, bad)
      await here.ring(queue, good)
      await one.hasHeard(good)
      const timesBad = (): number => one.bells.filter(({ taskIds }) => taskIds[0] === bad[0]).length
      await until('The last delivery', () => timesBad() >= maxDeliveries)
      await sleep(1500)
      assert.equal(timesBad(), maxDeliveries)
    })

    if (deadLetters !== undefined)
      test('a bell that came too often becomes a dead letter', async () => {
        await here.ensureTopology([queue])
        const before = await deadLetters(queue)
        await hear(there, [queue], async () => {
          throw new Error('never')
        })
        await here.ring(queue, ids(1))
        await until('The dead letter', async () => (await deadLetters(queue)) === before + 1)
      })

    test('no more bells are under way at once than there are credits', async () => {
      await here.ensureTopology([queue])
      let running = 0
      let most = 0
      const act = async (): Promise<void> => {
        most = Math.max(most, ++running)
        await sleep(50)
        running--
      }
      const wanted = ids(12)
      const one = await hear(there, [queue], act, 3)
      for (const id of wanted) await here.ring(queue, [id])
      await one.hasHeard(wanted)
      assert.ok(most <= 3, `${most} were under way`)
      assert.ok(most > 1, 'they came one by one')
    })

    test('a paused listener hears nothing, however long, and goes on when it is resumed', async () => {
      await here.ensureTopology([queue])
      const one = await hear(there, [queue])
      const [before, during] = [ids(1), ids(3)]
      await here.ring(queue, before)
      await one.hasHeard(before)
      one.listener.pause()
      await sleep(200)
      for (const id of during) await here.ring(queue, [id])
      await sleep(quietMs)
      assert.deepEqual(heardIds(one.bells), before)
      one.listener.resume()
      await one.hasHeard(during)
      one.listener.pause()
      one.listener.resume()
      const after = ids(1)
      await here.ring(queue, after)
      await one.hasHeard(after)
    })

    if (!isFleeting)
      test('what a listener has taken and not answered goes to another when it is closed', async () => {
        await here.ensureTopology([queue])
        const wanted = ids(1)
        const one = await hear(there, [queue], () => new Promise(() => undefined))
        await here.ring(queue, wanted)
        await one.hasHeard(wanted)
        await one.listener.close()
        await one.listener.close()
        const two = await hear(here, [queue])
        await two.hasHeard(wanted)
      })

    test('topology may be ensured again and again, by many at once', async () => {
      await Promise.all([here, there, here, there].map((end) => end.ensureTopology([queue])))
      await here.ensureTopology([queue])
      const one = await hear(there, [queue])
      const wanted = ids(1)
      await here.ring(queue, wanted)
      await one.hasHeard(wanted)
    })

    if (differing !== undefined)
      test('a topology that differs is refused, with what differs', async () => {
        await here.ensureTopology([queue])
        const other = await differing()
        try {
          await assert.rejects(other.ensureTopology([queue]), (error: { code?: string; message: string }) => {
            assert.equal(error.code, 'backend_mismatch', error.message)
            assert.match(error.message, /\d/)
            return true
          })
        } finally {
          await other.close()
        }
        await here.ensureTopology([queue])
      })

    test('hostile names of queues are kept apart', async () => {
      const names = [' ', 'a.b', 'a_b', 'a-b', 'A-b', '/', '#', '*', 'ümläut 💣', '\n', '%2e', 'x'.repeat(300)].map(
        (text) => `${text}${queue}`,
      )
      await here.ensureTopology(names)
      const one = await hear(there, names)
      const wanted = ids(names.length)
      for (const [index, each] of names.entries()) await here.ring(each, [wanted[index]!])
      await one.hasHeard(wanted)
      for (const bell of one.bells) assert.equal(bell.queue, names[wanted.indexOf(bell.taskIds[0]!)])
    })

    test('the depth of a queue is what waits in it', async () => {
      await here.ensureTopology([queue])
      assert.ok(((await here.depth(queue)) ?? 0) === 0)
      for (const id of ids(3)) await here.ring(queue, [id])
      if (isFleeting) return
      await until('The depth', async () => {
        const depth = await here.depth(queue)
        return depth === undefined || depth === 3
      })
      const one = await hear(there, [queue])
      await until('The bells', () => one.bells.length >= 3)
      await until('The depth', async () => ((await here.depth(queue)) ?? 0) === 0)
    })

    test('closing twice is closing once, and use after it is refused', async () => {
      await here.ensureTopology([queue])
      await here.listen([queue], async () => undefined, { credits: 1 })
      await here.close()
      await here.close()
      await assert.rejects(here.ring(queue, ids(1)), { code: 'closed' })
      await assert.rejects(here.ensureTopology([queue]), { code: 'closed' })
      await assert.rejects(
        here.listen([queue], async () => undefined, { credits: 1 }),
        { code: 'closed' },
      )
    })

    if (outage !== undefined)
      test('while the broker is away rings fail within their time, and all goes on by itself when it is back', async () => {
        await here.ensureTopology([queue])
        const one = await hear(there, [queue])
        const before = ids(1)
        await here.ring(queue, before)
        await one.hasHeard(before)
        await outage.stop()
        try {
          for (let turn = 0; turn < 3; turn++) {
            const startedMs = performance.now()
            await assert.rejects(here.ring(queue, ids(1)), { code: 'backend_failed' })
            assert.ok(performance.now() - startedMs < 10_000, 'a ring took longer than its time')
          }
          one.listener.pause()
          one.listener.resume()
        } finally {
          await outage.start()
        }
        // What was rung while it was away may be lost; the sweeper rings again. Parts of a broker come back one by one.
        const rung = (taskIds: readonly string[]): Promise<void> =>
          until('A ring', () =>
            here.ring(queue, taskIds).then(
              () => true,
              () => false,
            ),
          )
        await rung(ids(1))
        const after = ids(1)
        await rung(after)
        if (isFleeting)
          await until('A bell', async () => {
            await here.ring(queue, after)
            return heardIds(one.bells).includes(after[0]!)
          })
        await one.hasHeard(after)
      })
  })
}
