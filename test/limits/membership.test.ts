import { afterEach, expect, test } from 'vitest'
import { MemoryEventBus } from '../../src/backends/memory/event-bus.ts'
import { MEMBERS_CHANNEL } from '../../src/kernel/keys.ts'
import { Membership, type Member } from '../../src/kernel/membership.ts'
import { FakeClock } from '../../src/testing/index.ts'
import { tellingTelemetry } from './support.ts'

/** A bus that may be cut: what is published meanwhile is lost. */
class CutBus extends MemoryEventBus {
  isCut = false
  override async publish(channel: string, message: Uint8Array): Promise<void> {
    if (!this.isCut) await super.publish(channel, message)
  }
}

const clock = new FakeClock()
const members: Membership[] = []
afterEach(async () => {
  await Promise.all(members.splice(0).map((member) => member.close()))
})
async function join(bus: CutBus, id: string, role: Member['role'] = 'node'): Promise<Membership> {
  const { telemetry } = tellingTelemetry()
  const member = new Membership({ bus, clock, telemetry, self: { id, role, version: '1.0.0' } })
  members.push(member)
  await member.start()
  return member
}
const counts = (all: readonly Membership[]): number[] => all.map((member) => member.count('node'))

test('a newcomer knows everybody, and everybody it, within half a second', async () => {
  const bus = new CutBus()
  const all = [await join(bus, 'a'), await join(bus, 'b'), await join(bus, 'c')]
  await clock.advance(500)
  expect(counts(all)).toEqual([3, 3, 3])
  all.push(await join(bus, 'w', 'worker'))
  await clock.advance(500)
  expect(counts(all)).toEqual([3, 3, 3, 3])
  expect(all[0]!.count('worker')).toBe(1)
  expect(all[0]!.all.map(({ id }) => id).toSorted()).toEqual(['a', 'b', 'c', 'w'])
})

test('who leaves is gone at once; who dies, after some heartbeats', async () => {
  const bus = new CutBus()
  const [a, b] = [await join(bus, 'a'), await join(bus, 'b')]
  // Never says a word again.
  await bus.publish(MEMBERS_CHANNEL, Buffer.from(JSON.stringify({ id: 'dead', role: 'node', version: '1.0.0' })))
  await clock.advance(500)
  expect(a.count('node')).toBe(3)
  await b.close()
  expect(a.count('node')).toBe(2)
  await clock.advance(30_000)
  expect(a.count('node')).toBe(1)
})

test('while the bus is silent nobody is taken for gone', async () => {
  const bus = new CutBus()
  const all = [await join(bus, 'a'), await join(bus, 'b'), await join(bus, 'c')]
  await clock.advance(500)
  bus.isCut = true
  await clock.advance(600_000)
  expect(counts(all)).toEqual([3, 3, 3])
  bus.isCut = false
  await clock.advance(60_000)
  expect(counts(all)).toEqual([3, 3, 3])
})

test('twenty nodes that start at once count each other, and say little', async () => {
  const bus = new CutBus()
  let published = 0
  await bus.subscribe(
    MEMBERS_CHANNEL,
    () => void published++,
    () => undefined,
  )
  const all = await Promise.all(Array.from({ length: 20 }, (_, index) => join(bus, `n${index}`)))
  await clock.advance(1000)
  expect(counts(all)).toEqual(Array.from({ length: 20 }, () => 20))
  expect(published).toBeLessThanOrEqual(60)
  await clock.advance(20_000)
  expect(counts(all)).toEqual(Array.from({ length: 20 }, () => 20))
})

test('what strangers say on the bus counts nobody, and fills no memory', async () => {
  const bus = new CutBus()
  const a = await join(bus, 'a')
  for (const said of ['', '{', 'null', '[]', '{"id":1}', '{"id":"x","role":"king","version":"1"}'])
    await bus.publish(MEMBERS_CHANNEL, Buffer.from(said))
  expect(a.count('node')).toBe(1)
  for (let index = 0; index < 3000; index++)
    await bus.publish(MEMBERS_CHANNEL, Buffer.from(`{"id":"x${index}","role":"node","version":"1"}`))
  expect(a.all.length).toBeLessThanOrEqual(1001)
})
