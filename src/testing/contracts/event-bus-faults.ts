import assert from 'node:assert/strict'
import { FaultyEventBus } from '../faults/event-bus.ts'
import type { MessageFault } from '../faults/plan.ts'
import { collector, type EventBusFixture } from './event-bus.ts'
import type { TestRunner } from './suite.ts'

const bytes = (text: string): Uint8Array => Buffer.from(text)

/** What a caller of any {@link EventBus} meets when messages go wrong, and that the bus goes on afterwards. */
export function eventBusFaultContract(runner: TestRunner, name: string, create: () => Promise<EventBusFixture>): void {
  const { describe, test, beforeEach, afterEach } = runner
  describe(`event bus contract under faults: ${name}`, () => {
    let here: EventBusFixture['here']
    let there: EventBusFixture['there']
    let sender: FaultyEventBus
    let fault: MessageFault | undefined
    let channel: string
    let run = 0
    beforeEach(async () => {
      ;({ here, there } = await create())
      fault = undefined
      sender = new FaultyEventBus(there, () => fault)
      channel = `faults:${process.pid}-${Date.now()}-${++run}`
    })
    afterEach(async () => {
      await here.close()
      await sender.close()
    })

    /** Publishes one message under a fault and one without, and resolves to what was heard until then. */
    const heardUnder = async (kind: MessageFault, count: number, outcome: 'sent' | 'failed'): Promise<string[]> => {
      const ear = collector()
      await here.subscribe(channel, ear.onMessage, () => undefined)
      fault = kind
      const first = sender.publish(channel, bytes('first'))
      fault = undefined
      if (outcome === 'failed') await assert.rejects(first, { code: 'backend_failed' })
      else if (kind !== 'reorder') await first
      await sender.publish(channel, bytes('second'))
      await first.catch(() => undefined)
      await ear.until(count)
      return ear.seen
    }

    test('a message that fails before it is sent is not heard', async () => {
      assert.deepEqual(await heardUnder('error-before', 1, 'failed'), ['second'])
    })
    test('a message whose answer was lost is heard, once, although its publisher was told of an error', async () => {
      assert.deepEqual(await heardUnder('time-out-after', 2, 'failed'), ['first', 'second'])
    })
    test('a message that was dropped is missed in silence: nothing may rest on it', async () => {
      assert.deepEqual(await heardUnder('drop', 1, 'sent'), ['second'])
    })
    test('a message may come twice', async () => {
      assert.deepEqual(await heardUnder('duplicate', 3, 'sent'), ['first', 'first', 'second'])
    })
    test('a message may come after the next one', async () => {
      assert.deepEqual(await heardUnder('reorder', 2, 'sent'), ['second', 'first'])
    })
    test('a message that is late is heard', async () => {
      assert.deepEqual(await heardUnder({ delayMs: 20 }, 2, 'sent'), ['first', 'second'])
    })

    test('who was cut off hears nothing of that time, and is told of the gap when it is over', async () => {
      let gaps = 0
      const ear = collector()
      await sender.subscribe(channel, ear.onMessage, () => gaps++)
      sender.lose()
      await assert.rejects(sender.publish(channel, bytes('x')), { code: 'backend_failed' })
      // Behind the faults, on the same end: it hears right after the one that is cut off would have.
      const witness = collector()
      await there.subscribe(channel, witness.onMessage, () => undefined)
      await here.publish(channel, bytes('lost'))
      await witness.until(1)
      sender.restore()
      assert.equal(gaps, 2)
      await here.publish(channel, bytes('after'))
      await ear.until(1)
      assert.deepEqual(ear.seen, ['after'])
    })
  })
}
