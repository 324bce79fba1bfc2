import { expect, test } from 'vitest'
import { startCluster } from '../servers/redis-cluster.ts'
import { startSentinel } from '../servers/redis-sentinel.ts'
import { needs } from '../servers/shared.ts'
import { eventually } from '../clients/eventually.ts'
import { bytes, COMMAND_TIMEOUT_MS, listen, Load, open, SLACK_MS } from './support.ts'

await needs('redis', 'valkey')

test.each(['redis', 'valkey'] as const)(
  'under Sentinel, %s: the master is killed under load, and the store and the bus go on with the new one',
  async (flavour) => {
    await using group = await startSentinel({ flavour })
    await using here = await open(group.url)
    await using there = await open(group.url)
    const ear = await listen(there, 'news')
    let acknowledged = 0
    await using load = new Load(async (n) => {
      await here.state.set(`k${n}`, bytes(String(n)), { ttlMs: 60_000 })
      acknowledged++
    })
    await eventually(() => load.isWell).toBe(true)
    await group.master.process.kill()
    await eventually(() => load.failures > 0).toBe(true)
    const before = acknowledged
    await expect.poll(() => load.isWell && acknowledged > before, { timeout: 15_000 }).toBe(true)
    await eventually(() => ear.gaps > 1).toBe(true)
    await eventually(() => here.bus.publish('news', bytes('after')).then(() => true)).toBe(true)
    await eventually(() => ear.heard).toContain('after')
    await load[Symbol.asyncDispose]()
    // The Sentinel is asked at each attempt to connect; nothing waits for its answer.
    expect(load.slowestMs).toBeLessThan(COMMAND_TIMEOUT_MS + SLACK_MS)
    expect([...load.codes]).toEqual(['backend_failed'])
    expect(await group.masterPort()).toBe(group.replica.port)
    expect(here.told).toEqual(['up', 'down', 'up'])
  },
  40_000,
)

test('in a cluster the slots of a killed master fail at once, the others go on, and all are served when it is back', async () => {
  await using cluster = await startCluster()
  for (const node of cluster.nodes) await node.command('CONFIG', 'SET', 'cluster-require-full-coverage', 'no')
  await using opened = await open(cluster.url)
  const ear = await listen(opened, 'news')
  const keys = Array.from({ length: 30 }, (_, index) => `k${index}`)
  const write = (key: string): Promise<boolean> => opened.state.set(key, bytes(key), { ttlMs: 60_000 })
  await Promise.all(keys.map(write))
  await using load = new Load((n) => write(keys[n % keys.length]!))
  await eventually(() => load.isWell).toBe(true)
  await cluster.nodes[0]!.process.kill()
  await eventually(() => load.failures > 5).toBe(true)
  const served = await Promise.allSettled(keys.map(write))
  expect(served.filter(({ status }) => status === 'fulfilled').length).toBeGreaterThan(0)
  expect(served.filter(({ status }) => status === 'rejected').length).toBeGreaterThan(0)
  // The bus may have been on that node; on another one it goes on, or it has moved there.
  await eventually(() =>
    opened.bus.publish('news', bytes('meanwhile')).then(
      () => true,
      () => false,
    ),
  ).toBe(true)
  await cluster.nodes[0]!.process.start()
  await expect.poll(() => Promise.all(keys.map(write)).then(() => true, () => false), { timeout: 15_000 }).toBe(true) // prettier-ignore
  await eventually(() => opened.bus.publish('news', bytes('after')).then(() => true)).toBe(true)
  await eventually(() => ear.heard).toContain('after')
  await load[Symbol.asyncDispose]()
  expect(load.slowestMs).toBeLessThan(COMMAND_TIMEOUT_MS + SLACK_MS)
  const values = await opened.state.getMany(keys)
  expect(values.map((value) => Buffer.from(value!).toString())).toEqual(keys)
}, 60_000)

test('a cluster that was away as a whole is used again when it comes back', async () => {
  await using cluster = await startCluster()
  await using opened = await open(cluster.url)
  const ear = await listen(opened, 'news')
  await using load = new Load((n) => opened.state.set(`k${n % 30}`, bytes('v'), { ttlMs: 60_000 }))
  await eventually(() => load.isWell).toBe(true)
  await Promise.all(cluster.nodes.map((node) => node.process.kill()))
  await eventually(() => opened.told).toEqual(['up', 'down'])
  await Promise.all(cluster.nodes.map((node) => node.process.start()))
  await expect.poll(() => load.isWell, { timeout: 20_000 }).toBe(true)
  await eventually(() => ear.gaps).toBeGreaterThan(1)
  await eventually(() => opened.bus.publish('news', bytes('after')).then(() => true)).toBe(true)
  await eventually(() => ear.heard).toContain('after')
  await load[Symbol.asyncDispose]()
  expect(load.slowestMs).toBeLessThan(COMMAND_TIMEOUT_MS + SLACK_MS)
  expect([...load.codes]).toEqual(['backend_failed'])
}, 60_000)
