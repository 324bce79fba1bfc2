import { expect, test } from 'vitest'
import { MemoryStateStore } from '../../src/backends/memory/state-store.ts'
import { FakeClock } from '../../src/testing/index.ts'

const bucket = (cost: number) => ({ key: 'b', burst: 3, intervalUs: 1_000_000, cost })

test('a bucket is no place for a value, nor a value for a bucket', async () => {
  const store = new MemoryStateStore(new FakeClock())
  await store.takeTokens('t', [bucket(1)])
  await expect(store.getMany(['b'])).rejects.toMatchObject({ code: 'backend_failed' })
  await store.set('v', Buffer.from('1'), { ttlMs: 1000 })
  await expect(store.takeTokens('t', [{ ...bucket(1), key: 'v' }])).rejects.toMatchObject({ code: 'backend_failed' })
})
