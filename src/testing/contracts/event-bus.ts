import assert from 'node:assert/strict'
import type { EventBus } from '../../ports/event-bus.ts'
import type { TestRunner } from './suite.ts'

/** Two ends of one bus: as two nodes see it. For a bus within a process both may be the same. */
export interface EventBusFixture {
  here: EventBus
  there: EventBus
}

const bytes = (text: string): Uint8Array => Buffer.from(text)

/** Collects messages, and waits until there are enough. */
export function collector(): {
  seen: string[]
  onMessage: (message: Uint8Array) => void
  until: (count: number) => Promise<void>
} {
  const seen: string[] = []
  let wake: (() => void) | undefined
  return {
    seen,
    onMessage: (message) => {
      seen.push(Buffer.from(message).toString())
      wake?.()
    },
    async until(count) {
      while (seen.length < count) await new Promise<void>((resolve) => (wake = resolve))
    },
  }
}

/** What every {@link EventBus} must do. */
export function eventBusContract(runner: TestRunner, name: string, create: () => Promise<EventBusFixture>): void {
  const { describe, test, beforeEach, afterEach } = runner
  describe(`event bus contract: ${name}`, () => {
    let here: EventBus
    let there: EventBus
    let prefix: string
    let run = 0
    const channel = (part: string): string => `${prefix}:${part}`
    beforeEach(async () => {
      ;({ here, there } = await create())
      prefix = `contract:${process.pid}-${Date.now()}-${++run}`
    })
    afterEach(async () => {
      await here.close()
      await there.close()
    })

    test('a message reaches every subscriber of its channel once, and nobody else', async () => {
      const one = collector()
      const two = collector()
      const other = collector()
      await here.subscribe(channel('a'), one.onMessage, () => undefined)
      await there.subscribe(channel('a'), two.onMessage, () => undefined)
      await here.subscribe(channel('b'), other.onMessage, () => undefined)
      await there.publish(channel('a'), bytes('hello'))
      await Promise.all([one.until(1), two.until(1)])
      await there.publish(channel('b'), bytes('end'))
      await other.until(1)
      assert.deepEqual([one.seen, two.seen, other.seen], [['hello'], ['hello'], ['end']])
    })

    test('the messages of one publisher arrive in order', async () => {
      const one = collector()
      await here.subscribe(channel('a'), one.onMessage, () => undefined)
      const sent = Array.from({ length: 500 }, (_, index) => String(index))
      await Promise.all(sent.map((text) => there.publish(channel('a'), bytes(text))))
      await one.until(500)
      assert.deepEqual(one.seen, sent)
    })

    test('a subscriber is told of the gap before its subscription, and hears what is published once subscribe resolved', async () => {
      let gaps = 0
      const one = collector()
      await here.subscribe(channel('a'), one.onMessage, () => gaps++)
      assert.equal(gaps, 1)
      await there.publish(channel('a'), bytes('x'))
      await one.until(1)
      assert.equal(gaps, 1)
    })

    test('after unsubscribing nothing arrives, and other subscribers go on', async () => {
      const one = collector()
      const two = collector()
      const unsubscribe = await here.subscribe(channel('a'), one.onMessage, () => undefined)
      await here.subscribe(channel('a'), two.onMessage, () => undefined)
      await unsubscribe()
      await unsubscribe()
      await there.publish(channel('a'), bytes('x'))
      await two.until(1)
      assert.deepEqual(one.seen, [])
    })

    test('hostile channel names and binary messages are kept apart', async () => {
      const names = ['', '*', '?', '[a]', '{a}', '\n', '💣'].map(channel)
      const collectors = names.map(() => collector())
      await Promise.all(names.map((one, index) => here.subscribe(one, collectors[index]!.onMessage, () => undefined)))
      await Promise.all(names.map((one, index) => there.publish(one, bytes(`\u0000${index}`))))
      await Promise.all(collectors.map((one) => one.until(1)))
      assert.deepEqual(
        collectors.map(({ seen }) => seen),
        names.map((_, index) => [`\u0000${index}`]),
      )
    })

    test('publishing where nobody listens is no error', async () => {
      await here.publish(channel('nobody'), bytes('x'))
    })

    test('close may be called twice, and use after it is refused', async () => {
      await here.close()
      await here.close()
      await assert.rejects(here.publish(channel('a'), bytes('x')), { code: 'closed' })
    })
  })
}
