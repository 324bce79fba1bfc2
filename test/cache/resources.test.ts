import { expect, test } from 'vitest'
import { MemoryEventBus } from '../../src/backends/memory/event-bus.ts'
import { MemoryStateStore } from '../../src/backends/memory/state-store.ts'
import { defineResource, defineServer, type ResourceDefinition } from '../../src/index.ts'
import { connect, FakeClock, type TestClient } from '../../src/testing/index.ts'

const ADA = { issuer: 'https://issuer.example', subject: 'ada' }

const serve = (...resources: ResourceDefinition[]) => defineServer({ name: 'r', version: '1.0.0', resources })
const read = (client: TestClient, uri: string) => client.request('resources/read', { uri })

test('what was read is read again from the cache; clients are told how much longer it is fresh, and for whom', async () => {
  const clock = new FakeClock()
  let reads = 0
  const scoped = { ttlMs: 10_000, scope: 'public' } as const
  const server = serve(
    defineResource({ uri: 'r://public', name: 'public', cache: scoped, read: () => `${++reads}` }),
    defineResource({ uri: 'r://own', name: 'own', cache: { ttlMs: 10_000 }, read: () => `${++reads}` }),
    defineResource({ uri: 'r://short', name: 'short', cache: scoped, ttlMs: 500, read: () => `${++reads}` }),
    defineResource({ uri: 'r://some', name: 'some', cache: scoped, scopes: ['read'], read: () => `${++reads}` }),
    defineResource({ uriTemplate: 'r://one/{id}', name: 'one', cache: scoped, read: ({ id }) => `${id} ${++reads}` }),
  )
  await using client = await connect(server, { principal: { ...ADA, scopes: ['read'] }, runtime: { clock } })
  const first = (await read(client, 'r://public')) as { ttlMs: number }
  expect(first).toMatchObject({ contents: [{ text: '1' }], cacheScope: 'public' })
  expect(first.ttlMs).toBeGreaterThanOrEqual(9_000)
  expect(first.ttlMs).toBeLessThanOrEqual(10_000)
  await clock.advance(4_000)
  expect(await read(client, 'r://public')).toMatchObject({ contents: [{ text: '1' }], ttlMs: first.ttlMs - 4_000 })
  await clock.advance(6_000)
  expect(await read(client, 'r://public')).toMatchObject({ contents: [{ text: '2' }] })
  expect(await read(client, 'r://own')).toMatchObject({ contents: [{ text: '3' }], cacheScope: 'private' })
  expect(await read(client, 'r://short')).toMatchObject({ ttlMs: 500, cacheScope: 'public' })
  expect(await read(client, 'r://some')).toMatchObject({ cacheScope: 'private' })
  const one = async (id: string): Promise<unknown> => (await read(client, `r://one/${id}`)).contents
  expect([await one('a'), await one('b'), await one('a')]).toMatchObject([
    [{ text: 'a 6' }],
    [{ text: 'b 7' }],
    [{ text: 'a 6' }],
  ])
})

test('who is told that a resource was updated reads what is new, on any node', async () => {
  const shared = { state: new MemoryStateStore(new FakeClock()), bus: new MemoryEventBus() }
  let text = 'old'
  const server = serve(
    defineResource({ uri: 'r://doc', name: 'doc', cache: { ttlMs: 60_000, scope: 'public' }, read: () => text }),
  )
  await using here = await connect(server, { runtime: shared })
  await using there = await connect(server, { runtime: shared, revision: '2025-11-25' })
  const texts = async (): Promise<unknown[]> => [
    (await here.readResource('r://doc'))[0],
    (await there.readResource('r://doc'))[0],
  ]
  expect(await texts()).toMatchObject([{ text: 'old' }, { text: 'old' }])
  text = 'new'
  expect(await texts()).toMatchObject([{ text: 'old' }, { text: 'old' }])
  const updated = Promise.withResolvers<void>()
  const unsubscribe = await shared.bus.subscribe(
    'resource:r://doc',
    () => updated.resolve(),
    () => undefined,
  )
  here.runtime.notify.resourceUpdated('r://doc')
  await updated.promise
  expect(await texts()).toMatchObject([{ text: 'new' }, { text: 'new' }])
  await unsubscribe()
})

test('a resource that is not there is not kept as such, but where that is asked for', async () => {
  for (const negativeTtlMs of [undefined, 5_000]) {
    let isThere = false
    const cache = { ttlMs: 60_000, scope: 'public' as const, ...(negativeTtlMs && { negativeTtlMs }) }
    const clock = new FakeClock()
    const server = serve(
      defineResource({ uri: 'r://late', name: 'late', cache, read: () => (isThere ? 'here' : undefined) }),
    )
    await using client = await connect(server, { runtime: { clock } })
    await expect(read(client, 'r://late')).rejects.toMatchObject({ data: { code: 'resource_not_found' } })
    isThere = true
    if (negativeTtlMs !== undefined) {
      await expect(read(client, 'r://late')).rejects.toMatchObject({ data: { code: 'resource_not_found' } })
      await clock.advance(negativeTtlMs)
    }
    expect(await read(client, 'r://late')).toMatchObject({ contents: [{ text: 'here' }] })
  }
})
