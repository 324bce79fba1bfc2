import { expect, test } from 'vitest'
import { MemoryStateStore } from '../../src/backends/memory/state-store.ts'
import { FakeClock } from '../../src/testing/index.ts'

const bucket = (cost: number, least?: number) => ({
  key: 'b',
  burst: 3,
  intervalUs: 1_000_000,
  cost,
  ...(least === undefined ? {} : { least }),
})

test('tokens that are given back can be taken again, and a bucket never gets fuller than full', async () => {
  const clock = new FakeClock()
  const store = new MemoryStateStore(clock)
  expect(await store.takeTokens('t', [bucket(3)])).toMatchObject({ ok: true, buckets: [{ granted: 3, remaining: 0 }] })
  expect(await store.takeTokens('t', [bucket(-2)])).toMatchObject({ ok: true, buckets: [{ remaining: 2 }] })
  expect(await store.takeTokens('t', [bucket(-5)])).toMatchObject({ ok: true, buckets: [{ remaining: 3 }] })
  expect(await store.takeTokens('t', [bucket(4, 1)])).toMatchObject({ ok: true, buckets: [{ granted: 3 }] })
  expect(await store.takeTokens('t', [bucket(1)])).toMatchObject({ ok: false, refusedBy: 0, retryAfterMs: 1000 })
})

test('a bucket is no place for a value, nor a value for a bucket', async () => {
  const store = new MemoryStateStore(new FakeClock())
  await store.takeTokens('t', [bucket(1)])
  await expect(store.getMany(['b'])).rejects.toMatchObject({ code: 'backend_failed' })
  await store.set('v', Buffer.from('1'), { ttlMs: 1000 })
  await expect(store.takeTokens('t', [{ ...bucket(1), key: 'v' }])).rejects.toMatchObject({ code: 'backend_failed' })
})
