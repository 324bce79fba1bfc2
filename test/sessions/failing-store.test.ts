import { expect, test } from 'vitest'
import { MemoryEventBus } from '../../src/backends/memory/event-bus.ts'
import { MemoryStateStore } from '../../src/backends/memory/state-store.ts'
import { createRuntime, defineResource, defineServer } from '../../src/index.ts'
import { systemClock } from '../../src/ports/clock.ts'
import { FakeClock } from '../../src/testing/index.ts'
import { openSession } from '../clients/raw.ts'

const board = defineResource({ uri: 'board://one', name: 'board', read: () => '' })
const server = defineServer({ name: 'failing-store', version: '1.0.0', resources: [board] })

test('a stand-alone stream goes on following what its session follows when the record could not be read for a while', async () => {
  const state = new MemoryStateStore(systemClock)
  const bus = new MemoryEventBus()
  const gaps: (() => void)[] = []
  const subscribe = bus.subscribe.bind(bus)
  bus.subscribe = (channel, onMessage, onGap) => {
    if (channel.startsWith('session:')) gaps.push(onGap)
    return subscribe(channel, onMessage, onGap)
  }
  const runtime = await createRuntime(server, { dataDir: false, logLevel: 'silent', state, bus })
  const { url } = await runtime.listen({ port: 0 })
  const session = await openSession(url)
  await session.request('resources/subscribe', { uri: 'board://one' })
  const stream = await session.listen()
  await stream.next() // says where to resume from
  const heard = async () => (await stream.next())?.json?.params

  const getMany = state.getMany.bind(state)
  const asked = Promise.withResolvers<void>()
  state.getMany = () => {
    asked.resolve()
    return Promise.reject(new Error('the store is down'))
  }
  for (const gap of gaps) gap()
  await asked.promise
  runtime.notify.resourceUpdated('board://one')
  expect(await heard()).toEqual({ uri: 'board://one' })

  const again = Promise.withResolvers<void>()
  state.getMany = (keys) => {
    again.resolve()
    return getMany(keys)
  }
  await again.promise // by itself
  runtime.notify.resourceUpdated('board://one')
  expect(await heard()).toEqual({ uri: 'board://one' })
  await stream.close()
  await runtime.close()
  await Promise.all([state.close(), bus.close()])
})

test('streams that lost the bus together do not read their records together', async () => {
  const clock = new FakeClock()
  const state = new MemoryStateStore(clock)
  const bus = new MemoryEventBus()
  const gaps: (() => void)[] = []
  const subscribe = bus.subscribe.bind(bus)
  bus.subscribe = (channel, onMessage, onGap) => {
    if (channel.startsWith('session:')) gaps.push(onGap)
    return subscribe(channel, onMessage, onGap)
  }
  const runtime = await createRuntime(server, { dataDir: false, logLevel: 'silent', state, bus, clock })
  const { url } = await runtime.listen({ port: 0 })
  const sessions = await Promise.all(Array.from({ length: 40 }, () => openSession(url)))
  const streams = await Promise.all(sessions.map((session) => session.listen()))
  for (const stream of streams) await stream.next() // says where to resume from
  await clock.advance(5000) // what each has missed before it was there has been read
  const getMany = state.getMany.bind(state)
  let reads = 0
  state.getMany = (keys) => {
    if (keys[0]!.startsWith('session:')) reads++
    return getMany(keys)
  }
  for (const gap of gaps) gap()
  const readsAfter: number[] = []
  for (let tick = 0; tick < 8; tick++) {
    readsAfter.push(reads)
    await clock.advance(500)
  }
  expect(reads).toBe(40)
  const most = Math.max(...readsAfter.slice(1).map((count, index) => count - readsAfter[index]!))
  expect(most).toBeLessThan(25)
  await Promise.all(streams.map((stream) => stream.close()))
  const ended = new AbortController()
  const closed = runtime.close().finally(() => ended.abort())
  while (!ended.signal.aborted) await clock.advance(100)
  await closed
  await Promise.all([state.close(), bus.close()])
})
