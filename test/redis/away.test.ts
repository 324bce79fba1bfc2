import { describe, expect, test } from 'vitest'
import { startRedis } from '../servers/redis.ts'
import { needs } from '../servers/shared.ts'
import { startToxiproxy } from '../servers/toxiproxy.ts'
import { eventually } from '../clients/eventually.ts'
import { bytes, COMMAND_TIMEOUT_MS, listen, Load, open, SLACK_MS } from './support.ts'

await needs('redis', 'toxiproxy')

/** Nothing hung, and every failure was ours. */
function expectBounded(load: Load): void {
  expect(load.slowestMs).toBeLessThan(COMMAND_TIMEOUT_MS + SLACK_MS)
  expect([...load.codes]).toEqual(['backend_failed'])
}

test('a server that is killed and comes back is used again by itself; listeners are told of the gap', async () => {
  await using redis = await startRedis()
  await using opened = await open(redis.url)
  const ear = await listen(opened, 'news')
  await using load = new Load((n) => opened.state.set(`k${n % 10}`, bytes('v'), { ttlMs: 60_000 }))
  await eventually(() => load.isWell).toBe(true)
  await redis.process.kill()
  await eventually(() => load.failures > 10).toBe(true)
  await expect(opened.bus.publish('news', bytes('lost'))).rejects.toMatchObject({ code: 'backend_failed' })
  await expect(listen(opened, 'others')).rejects.toMatchObject({ code: 'backend_failed' })
  expect(opened.told).toEqual(['up', 'down'])
  expect(ear.gaps).toBe(1)

  await redis.process.start()
  await eventually(() => load.isWell).toBe(true)
  await eventually(() => ear.gaps).toBeGreaterThan(1)
  await opened.bus.publish('news', bytes('after'))
  await eventually(() => ear.heard).toEqual(['after'])
  await load[Symbol.asyncDispose]()
  expectBounded(load)
  expect(opened.told).toEqual(['up', 'down', 'up'])
})

test('a server that hangs lets nothing wait for longer than the time-out, and is used again when it goes on', async () => {
  await using redis = await startRedis()
  await using opened = await open(redis.url)
  const ear = await listen(opened, 'news')
  await using load = new Load(() => opened.state.getMany(['a', 'b']))
  await eventually(() => load.isWell).toBe(true)
  redis.process.pause()
  await eventually(() => opened.told).toEqual(['up', 'down'])
  await eventually(() => load.failures > 50).toBe(true)
  redis.process.resume()
  await eventually(() => load.isWell).toBe(true)
  await eventually(() => opened.bus.publish('news', bytes('after')).then(() => true)).toBe(true)
  await eventually(() => ear.heard).toEqual(['after'])
  await load[Symbol.asyncDispose]()
  expectBounded(load)
})

test('a network that swallows packets is noticed on a quiet bus too, and healed with a gap', async () => {
  await using redis = await startRedis()
  await using toxiproxy = await startToxiproxy()
  const link = await toxiproxy.proxy('quiet-bus', redis)
  await using opened = await open(`redis://${link.host}:${link.port}`)
  const ear = await listen(opened, 'news')
  await link.add('timeout', { timeout: 0 })
  await link.add('timeout', { timeout: 0 }, { stream: 'upstream' })
  // Nobody asks for anything meanwhile: the bus finds out by its own beat.
  const isLost = (): Promise<boolean> =>
    listen(opened, 'others').then(
      () => false,
      (error: Error) => error.message.includes('lost its connection'),
    )
  await eventually(isLost).toBe(true)
  expect(ear.gaps).toBe(1)
  await link.clear()
  await eventually(() => ear.gaps).toBe(2)
  await opened.bus.publish('news', bytes('after'))
  await eventually(() => ear.heard).toEqual(['after'])
})

test('what a publisher could not send is a gap to listeners elsewhere, as soon as the publisher is back', async () => {
  await using redis = await startRedis()
  await using toxiproxy = await startToxiproxy()
  const link = await toxiproxy.proxy('publisher', redis)
  await using sender = await open(`redis://${link.host}:${link.port}`)
  await using receiver = await open(redis.url)
  const news = await listen(receiver, 'news')
  const others = await listen(receiver, 'others')
  await link.add('timeout', { timeout: 0 }, { stream: 'upstream' })
  await expect(sender.bus.publish('news', bytes('lost'))).rejects.toMatchObject({ code: 'backend_failed' })
  expect(news.gaps).toBe(1)
  await link.clear()
  await eventually(() => news.gaps).toBe(2)
  expect(others.gaps).toBe(1)
})

test('a slow link changes nothing but the time it takes', async () => {
  await using redis = await startRedis()
  await using toxiproxy = await startToxiproxy()
  const link = await toxiproxy.proxy('slow', redis)
  await using opened = await open(`redis://${link.host}:${link.port}`, { commandTimeoutMs: 2000 })
  const ear = await listen(opened, 'news')
  await link.add('latency', { latency: 100, jitter: 50 })
  const sent = Array.from({ length: 50 }, (_, index) => String(index))
  const [appended] = await Promise.all([
    opened.state.append('log', 0, sent.map(bytes), { maxEntries: 100, maxBytes: 10_000, ttlMs: 10_000 }),
    ...sent.map((text) => opened.bus.publish('news', bytes(text))),
  ])
  expect(appended).toEqual({ ok: true, last: 50, closed: false })
  await eventually(() => ear.heard).toEqual(sent)
  expect(opened.told).toEqual(['up'])
})

test('a server that is not there at the start is used when it comes', async () => {
  await using redis = await startRedis()
  await redis.process.kill()
  await using opened = await open(redis.url)
  expect(opened.told).toEqual(['down'])
  await expect(opened.state.getMany(['a'])).rejects.toMatchObject({ code: 'backend_failed' })
  await redis.process.start()
  await eventually(() => opened.told).toEqual(['down', 'up'])
  await eventually(() => listen(opened, 'news').then(({ gaps }) => gaps)).toBe(1)
})

describe('a server that takes no writes', () => {
  test('because it is full says so, and is read from all the same', async () => {
    await using redis = await startRedis({ args: ['--maxmemory-policy', 'noeviction'] })
    await using opened = await open(redis.url)
    await opened.state.set('a', bytes('before'), { ttlMs: 60_000 })
    await redis.command('CONFIG', 'SET', 'maxmemory', '1')
    const log = { maxEntries: 10, maxBytes: 1000, ttlMs: 1000 }
    const writes = [
      opened.state.set('a', bytes('x'), { ttlMs: 1000 }),
      opened.state.compareAndSet('a', bytes('before'), bytes('x'), { ttlMs: 1000 }),
      opened.state.append('log', 0, [bytes('x')], log),
      opened.state.takeTokens('t', [{ key: '{t}', burst: 1, intervalUs: 1000, cost: 1 }]),
    ]
    for (const write of writes)
      await expect(write).rejects.toMatchObject({
        code: 'backend_failed',
        message: expect.stringContaining('out of memory') as string,
      })
    expect(Buffer.from((await opened.state.getMany(['a']))[0]!).toString()).toBe('before')
    await redis.command('CONFIG', 'SET', 'maxmemory', '0')
    expect(await opened.state.append('log', 0, [bytes('x')], log)).toEqual({ ok: true, last: 1, closed: false })
  })

  test('because it became a replica says so', async () => {
    await using redis = await startRedis()
    await using opened = await open(redis.url)
    await redis.command('REPLICAOF', '127.0.0.1', '1')
    await expect(opened.state.set('a', bytes('x'), { ttlMs: 1000 })).rejects.toMatchObject({
      code: 'backend_failed',
      message: expect.stringContaining('replica') as string,
    })
  })
})

test('scripts that the server has forgotten are sent again', async () => {
  await using redis = await startRedis()
  await using opened = await open(redis.url)
  const log = { maxEntries: 10, maxBytes: 1000, ttlMs: 60_000 }
  expect((await opened.state.append('log', 0, [bytes('x')], log)).last).toBe(1)
  await redis.command('SCRIPT', 'FLUSH')
  expect((await opened.state.append('log', 1, [bytes('y')], log)).last).toBe(2)
})

test('every key has a time to live', async () => {
  await using redis = await startRedis()
  await using opened = await open(redis.url, { prefix: 'ttl:' })
  const { state } = opened
  await state.set('a', bytes('x'), { ttlMs: 60_000 })
  await state.compareAndSet('b', undefined, bytes('x'), { ttlMs: 60_000 })
  await state.compareAndSet('b', bytes('x'), bytes('y'), { ttlMs: 60_000 })
  await state.append('c', 0, [], { maxEntries: 10, maxBytes: 1000, ttlMs: 60_000, close: true })
  await state.takeTokens('t', [{ key: '{t}', burst: 10, intervalUs: 1_000_000, cost: 5 }])
  await state.acquire('e', 60_000)
  const keys = (await redis.command('KEYS', 'ttl:*')) as string[]
  expect(keys.filter((key) => key !== 'ttl:probe').toSorted()).toEqual(['ttl:a', 'ttl:b', 'ttl:c', 'ttl:e', 'ttl:{t}'])
  for (const key of keys) expect(await redis.command('PTTL', key)).toBeGreaterThan(0)
})
