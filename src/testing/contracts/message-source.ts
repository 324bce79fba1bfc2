import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import type { MessageSource, SourceEvents, SourceMessage } from '../../ports/message-source.ts'
import type { TestRunner } from './suite.ts'

/** A queue of somebody's, of a name of its own, that is not there yet. */
export interface MessageSourceFixture {
  /** Opens it to be read from, once more each time. */
  open(events: SourceEvents): Promise<MessageSource>
  /** Creates it. */
  create(): Promise<void>
  /** Sends to it, each with an id where the broker gives none; resolves when the broker has the messages. */
  send(messages: readonly { readonly body: string; readonly headers?: Record<string, string> }[]): Promise<void>
  /** Bodies of the dead letters that it has led to. */
  deadLetters(): Promise<readonly string[]>
}

/** What only some set-ups can do; the tests for the rest are not there. */
export interface MessageSourceOptions {
  /** Stops and starts the broker, without loss of what it has confirmed. */
  readonly outage?: { stop(): Promise<void>; start(): Promise<void> }
  /** Longer than the broker waits for a listener that has taken a message. Default 3000. */
  readonly holdMs?: number
  /** For a message to come at all, again after a lost listener included. Default 30000. */
  readonly patienceMs?: number
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
const text = ({ body }: SourceMessage): string => Buffer.from(body).toString()

/** What every {@link MessageSource} must do. */
export function messageSourceContract(
  runner: TestRunner,
  name: string,
  createFixture: () => Promise<MessageSourceFixture>,
  { outage, holdMs = 3000, patienceMs = 30_000 }: MessageSourceOptions = {},
): void {
  const { describe, test, beforeEach, afterEach } = runner
  describe(`message source contract: ${name}`, () => {
    let fixture: MessageSourceFixture
    let opened: MessageSource[]
    let told: string[]
    beforeEach(async () => {
      fixture = await createFixture()
      opened = []
      told = []
    })
    afterEach(async () => {
      for (const source of opened) await source.close()
    })

    const open = async (): Promise<MessageSource> => {
      const source = await fixture.open({
        onUp: () => told.push('up'),
        onDown: ({ message }) => told.push(message),
        onRefused: () => told.push('refused'),
      })
      opened.push(source)
      return source
    }
    const until = async (what: string, isTrue: () => boolean | Promise<boolean>): Promise<void> => {
      const deadline = performance.now() + patienceMs
      while (!(await isTrue())) {
        assert.ok(performance.now() < deadline, `${what} did not come about within ${patienceMs} ms`)
        await sleep(20)
      }
    }
    const bodies = (count: number): string[] =>
      Array.from({ length: count }, () => JSON.stringify({ id: randomUUID() }))
    const send = (all: readonly string[]): Promise<void> => fixture.send(all.map((body) => ({ body })))
    /** Listens, and keeps what it was given. */
    const hear = async (
      source: MessageSource,
      act: (message: SourceMessage) => Promise<string | void> = async () => undefined,
      credits = 10,
    ) => {
      const messages: SourceMessage[] = []
      const listener = await source.listen(
        async (message) => {
          messages.push(message)
          return act(message)
        },
        { credits },
      )
      const texts = (): string[] => [...new Set(messages.map(text))].toSorted()
      const hasHeard = (wanted: readonly string[]): Promise<void> =>
        until('Every message having come', () => wanted.every((body) => texts().includes(body)))
      return { messages, listener, texts, hasHeard }
    }

    test('a message comes with its body, its headers, and an id that no other has', async () => {
      await fixture.create()
      const one = await hear(await open())
      const [first = '', second = ''] = bodies(2)
      await fixture.send([{ body: first, headers: { kind: 'order' } }, { body: second }])
      await one.hasHeard([first, second])
      const message = one.messages.find((each) => text(each) === first)!
      assert.equal(message.headers['kind'], 'order')
      const ids = one.messages.map(({ id }) => id)
      assert.ok(ids.every((id) => typeof id === 'string' && id !== ''))
      assert.equal(new Set(ids).size, ids.length)
      assert.ok(told.includes('up'))
    })

    test('what was sent waits for who listens later', async () => {
      await fixture.create()
      const wanted = bodies(3)
      await send(wanted)
      const one = await hear(await open())
      await one.hasHeard(wanted)
    })

    test('bodies come as they were sent: big ones, and every kind of letter', async () => {
      await fixture.create()
      const wanted = ['ümläut 💣 \n "', 'x'.repeat(200_000), ' ', '{"a":1}']
      const one = await hear(await open())
      await send(wanted)
      await one.hasHeard(wanted)
    })

    test('of two that listen each message reaches one, and all are heard', async () => {
      await fixture.create()
      const one = await hear(await open())
      const two = await hear(await open())
      const wanted = bodies(40)
      for (const body of wanted) await send([body])
      await until('All messages', () => new Set([...one.texts(), ...two.texts()]).size === wanted.length)
    })

    test('a message that was acknowledged does not come again', async () => {
      await fixture.create()
      const source = await open()
      const one = await hear(source)
      const first = bodies(3)
      await send(first)
      await one.hasHeard(first)
      await sleep(300) // the acknowledgement is on its way
      await source.close()
      const two = await hear(await open())
      const last = bodies(1)
      await send(last)
      await two.hasHeard(last)
      assert.deepEqual(two.texts(), last)
    })

    test('a message that is not acknowledged comes again with the same id, to another when its listener is closed', async () => {
      await fixture.create()
      const source = await open()
      const one = await hear(source, () => new Promise(() => undefined))
      const wanted = bodies(1)
      await send(wanted)
      await one.hasHeard(wanted)
      await source.close()
      const two = await hear(await open())
      await two.hasHeard(wanted)
      assert.equal(two.messages[0]!.id, one.messages[0]!.id)
    })

    test('a message whose listener rejects comes again, with the same id, and then no more once it was acknowledged', async () => {
      await fixture.create()
      let refusals = 0
      const one = await hear(await open(), async () => {
        if (++refusals < 3) throw new Error('not now')
      })
      await send(bodies(1))
      await until('The third delivery', () => one.messages.length === 3)
      await sleep(1500)
      assert.equal(one.messages.length, 3)
      assert.equal(new Set(one.messages.map(({ id }) => id)).size, 1)
      assert.ok(told.includes('refused'))
    })

    test('a bad message goes where dead letters go, once, and the next ones go on', async () => {
      await fixture.create()
      const [bad = '', ...good] = bodies(6)
      const one = await hear(await open(), async (message) => (text(message) === bad ? 'no good' : undefined), 1)
      await send([bad, ...good])
      await one.hasHeard([bad, ...good])
      await until('The dead letter', async () => (await fixture.deadLetters()).length > 0)
      await sleep(1500)
      assert.deepEqual(await fixture.deadLetters(), [bad])
      assert.equal(one.messages.filter((message) => text(message) === bad).length, 1)
    })

    test('no more messages are under way at once than there are credits', async () => {
      await fixture.create()
      let running = 0
      let most = 0
      const wanted = bodies(12)
      await send(wanted)
      const one = await hear(
        await open(),
        async () => {
          most = Math.max(most, ++running)
          await sleep(50)
          running--
        },
        3,
      )
      await one.hasHeard(wanted)
      assert.ok(most <= 3, `${most} were under way`)
    })

    test('while one is held, however long, it does not come again, and the others go on', async () => {
      await fixture.create()
      const [slow = '', ...rest] = bodies(5)
      let release: () => void = () => undefined
      const held = new Promise<void>((resolve) => (release = resolve))
      const one = await hear(await open(), async (message) => (text(message) === slow ? held : undefined), 5)
      await send([slow])
      await one.hasHeard([slow])
      await send(rest)
      await one.hasHeard(rest)
      await sleep(holdMs)
      assert.equal(one.messages.filter((message) => text(message) === slow).length, 1)
      release()
    })

    test('a paused listener hears nothing, and goes on when it is resumed', async () => {
      await fixture.create()
      const one = await hear(await open())
      const [before, during] = [bodies(1), bodies(3)]
      await send(before)
      await one.hasHeard(before)
      one.listener.pause()
      await sleep(200)
      await send(during)
      await sleep(1000)
      assert.deepEqual(one.texts(), before)
      one.listener.resume()
      await one.hasHeard(during)
    })

    test('a queue that is not there is told of; once it is created, it is read', async () => {
      const listening = hear(await open())
      await until('The complaint', () => told.length > 0)
      assert.notEqual(told[0], 'up')
      await fixture.create()
      const one = await listening
      const wanted = bodies(1)
      await send(wanted)
      await one.hasHeard(wanted)
      assert.equal(told.at(-1), 'up')
    })

    test('closing twice is closing once, and use after it is refused', async () => {
      await fixture.create()
      const source = await open()
      await hear(source)
      await source.close()
      await source.close()
      await assert.rejects(
        source.listen(async () => undefined, { credits: 1 }),
        { code: 'closed' },
      )
    })

    if (outage !== undefined)
      test('when the broker was away, what it had and what was not acknowledged comes by itself', async () => {
        await fixture.create()
        let isAway = false
        const one = await hear(await open(), async () => {
          if (isAway) throw new Error('The acknowledgement would be lost.')
        })
        const before = bodies(1)
        await send(before)
        await one.hasHeard(before)
        await sleep(300)
        isAway = true
        const during = bodies(2)
        await send(during)
        await one.hasHeard(during)
        await outage.stop()
        await until('The complaint', () => told.at(-1) !== 'up')
        isAway = false
        const from = one.messages.length
        await outage.start()
        await until('What was not acknowledged', () =>
          during.every((body) => one.messages.slice(from).some((message) => text(message) === body)),
        )
        const after = bodies(1)
        await until('A send', () =>
          send(after).then(
            () => true,
            () => false,
          ),
        )
        await one.hasHeard(after)
      })
  })
}
