import { readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { loadClients } from '../../src/backends/redis/client.ts'
import { RedisEventBus } from '../../src/backends/redis/event-bus.ts'
import { RedisStateStore } from '../../src/backends/redis/state-store.ts'
import { parseRedisUrl } from '../../src/backends/redis/url.ts'
import { eventually } from '../clients/eventually.ts'
import { openRedis } from '../../src/backends/redis/open.ts'
import { startCluster } from '../servers/redis-cluster.ts'
import { startRedis } from '../servers/redis.ts'
import { startSentinel } from '../servers/redis-sentinel.ts'
import { needs } from '../servers/shared.ts'
import { open, type Opened } from './support.ts'

await needs('redis')

/** The commands of the page. */
const page = readFileSync(new URL('../../docs/operating-redis.md', import.meta.url), 'utf8')
const setUser = /^ACL SETUSER .*$/m.exec(page)![0].split(' ')
const inCluster = /in a cluster also `([^`]+)`/.exec(page)![1]!.split(' ')

/** What is refused leaves no connection open: every file is checked for that. */
const refused = (url: string, reason: string, options?: Record<string, string>): Promise<void> =>
  expect(open(url, options)).rejects.toMatchObject({
    code: 'invalid_option',
    message: expect.stringContaining(reason) as string,
  })

test('a password that is missing or wrong ends the start', async () => {
  await using redis = await startRedis()
  await redis.command('CONFIG', 'SET', 'requirepass', 'sesame')
  await refused(redis.url, 'asks for a password')
  await refused(`redis://:wrong@${redis.host}:${redis.port}`, 'password is wrong')
  await refused(`redis://nobody:sesame@${redis.host}:${redis.port}`, 'password is wrong')
  await using opened = await open(`redis://:sesame@${redis.host}:${redis.port}`)
  expect(opened.told).toEqual(['up'])
})

test('a database that does not exist ends the start', async () => {
  await using redis = await startRedis()
  await refused(`${redis.url}/16`, 'out of range')
  await using opened = await open(`${redis.url}/15`)
  await opened.state.set('a', Buffer.of(1), { ttlMs: 60_000 })
  expect(await redis.command('EXISTS', 'holdfast:a')).toBe(0)
})

test('databases of one server do not hear each other', async () => {
  await using redis = await startRedis()
  await using here = await open(`${redis.url}/1`)
  await using there = await open(`${redis.url}/2`)
  const heard: string[] = []
  for (const [name, { bus }] of [['here', here] as const, ['there', there] as const])
    await bus.subscribe(
      'news',
      () => heard.push(name),
      () => undefined,
    )
  await here.bus.publish('news', Buffer.of(1))
  await there.bus.publish('news', Buffer.of(1))
  await expect.poll(() => heard.toSorted()).toEqual(['here', 'there'])
})

test('a certificate that is not trusted ends the start; its authority makes it trusted', async () => {
  await using redis = await startRedis({ tls: true })
  await refused(redis.url, 'certificate')
  await refused(redis.url, "which can't be read (ENOENT)", { ca: '/no/such/file.pem' })
  await using opened = await open(redis.url, { ca: redis.caFile! })
  expect(opened.told).toEqual(['up'])
})

test('a file that holds no certificate ends the start', async () => {
  await using redis = await startRedis({ tls: true })
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-redis-'))
  await writeFile(join(folder, 'ca.pem'), 'not a certificate')
  await refused(redis.url, 'certificate', { ca: join(folder, 'ca.pem') })
  await rm(folder, { recursive: true })
})

test('a replica ends the start', async () => {
  await using master = await startRedis()
  await using replica = await startRedis({ args: ['--replicaof', master.host, String(master.port)] })
  await refused(replica.url, 'is a replica')
})

test('a user that may not write ends the start', async () => {
  await using redis = await startRedis()
  await redis.command('ACL', 'SETUSER', 'reader', 'on', '>sesame', '~*', '&*', '+@read', '+@connection', '+info')
  await refused(`redis://reader:sesame@${redis.host}:${redis.port}`, 'may not do this')
})

test('a user with the rights that the page lists is enough', async () => {
  await using redis = await startRedis()
  await redis.command(...setUser)
  await using opened = await open(`redis://holdfast:password@${redis.host}:${redis.port}`)
  await useEverything(opened)
})

test('and so is one in a cluster', async () => {
  await using cluster = await startCluster()
  for (const node of cluster.nodes) await node.command(...setUser, ...inCluster)
  const { host, port } = cluster.nodes[0]!
  await using opened = await open(`redis+cluster://holdfast:password@${host}:${port}`)
  await useEverything(opened)
}, 60_000)

async function useEverything({ state, bus }: Opened): Promise<void> {
  const unsubscribe = await bus.subscribe('news', () => undefined, () => undefined) // prettier-ignore
  await bus.publish('news', Buffer.of(1))
  await unsubscribe()
  await state.set('a', Buffer.of(1), { ttlMs: 60_000 })
  await state.compareAndSet('a', Buffer.of(1), Buffer.of(2), { ttlMs: 60_000 })
  await state.append('log', 0, [Buffer.of(1)], { maxEntries: 1, maxBytes: 100, ttlMs: 60_000 })
  await state.readAfter('log', 0, 1)
  await state.takeTokens('t', [{ key: '{t}', burst: 1, intervalUs: 1000, cost: 1 }])
  await state.release('lock', (await state.acquire('lock', 1000))!)
  expect(await state.delete(['a', 'b'])).toBe(1)
  await expect(state.getMany(['a'])).resolves.toEqual([undefined])
}

test('nothing but commands that Redis 6.2 and KeyDB 6.3 know is used', async () => {
  await using redis = await startRedis()
  await using opened = await open(redis.url)
  await useEverything(opened)
  const used = [...String(await redis.command('INFO', 'commandstats')).matchAll(/^cmdstat_([^:]+):/gm)].map(([, name]) => name!) // prettier-ignore
  const known =
    'hello auth select info ping set get mget unlink del eval evalsha time hmget hset hget hdel hstrlen pexpire publish subscribe unsubscribe' // prettier-ignore
  expect(used.filter((name) => !known.split(' ').includes(name))).toEqual([])
  expect(used.length).toBeGreaterThan(15)
})

test('a master that the Sentinel does not know is told as that; a wrong password behind it ends the start', async () => {
  await using group = await startSentinel()
  let reason: string | undefined
  const opened = await openRedis(`${group.url}-other?connectTimeoutMs=300&commandTimeoutMs=300`, {
    onUp() {},
    onDown: (error) => (reason = error.message),
  })
  expect(reason).toMatch(/sentinel 127.*No such master with that name/)
  await Promise.all([opened.state.close(), opened.bus.close()])
  await group.master.command('CONFIG', 'SET', 'requirepass', 'sesame')
  await refused(group.url.replace('://', '://:wrong@'), 'password is wrong')
}, 40_000)

test('a bus that is closed at any moment of its start leaves nothing open', async () => {
  await using redis = await startRedis()
  for (let turns = 0; turns < 40; turns++) {
    const { commands, single } = await loadClients(parseRedisUrl(redis.url))
    const bus = new RedisEventBus('x:', () => single([]), 1000)
    const client = commands()
    client.on('error', () => undefined) // of a start that is broken off
    const store = new RedisStateStore(client, 'x:')
    const connected = client.connect().catch((error: unknown) => error)
    for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve))
    await Promise.all([bus.close(), store.close()])
    await connected
  }
  await eventually(async () => String(await redis.command('CLIENT', 'LIST')).trim().split('\n').length).toBe(1) // prettier-ignore
})
