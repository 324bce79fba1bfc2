import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { describe, expect, test } from 'vitest'
import { startDynamodb } from './dynamodb.ts'
import { startElasticmq } from './elasticmq.ts'
import { startHaproxy } from './haproxy.ts'
import { startKafka } from './kafka.ts'
import { startRabbitmq } from './rabbitmq.ts'
import { startRedis } from './redis.ts'
import { startCluster } from './redis-cluster.ts'
import { command } from './resp.ts'
import { startSentinel } from './redis-sentinel.ts'
import { needs, sharedServer } from './shared.ts'
import { isAlive, until } from './tools.ts'
import { startToxiproxy } from './toxiproxy.ts'

await needs('redis', 'valkey', 'toxiproxy', 'haproxy', 'rabbitmq', 'kafka', 'elasticmq', 'dynamodb')

describe.each(['redis', 'valkey'] as const)('%s', (flavour) => {
  test('keeps its data when it is killed and started again', async () => {
    await using server = await startRedis({ flavour, args: ['--appendfsync', 'always'] })
    await server.command('SET', 'key', 'grüße')
    await server.process.kill()
    await expect(server.command('GET', 'key')).rejects.toThrow('ECONNREFUSED')
    await server.process.start()
    expect(await server.command('GET', 'key')).toBe('grüße')
  })

  test('stands still while it is paused', async () => {
    await using server = await startRedis({ flavour })
    server.process.pause()
    const answer = server.command('PING')
    const first = await Promise.race([answer, new Promise((resolve) => setTimeout(resolve, 200, 'nothing'))])
    expect(first).toBe('nothing')
    server.process.resume()
    expect(await answer).toBe('PONG')
  })

  test('fails over by Sentinel when the master is killed', async () => {
    await using group = await startSentinel({ flavour })
    expect(await group.masterPort()).toBe(group.master.port)
    await group.master.process.kill()
    await until('The failover', 15_000, async () => (await group.masterPort()) === group.replica.port)
    await until('The replica being master', 5000, async () => (await group.replica.command('SET', 'a', 1)) === 'OK')
  })

  test('is a cluster of three masters that send a key to the one that holds its slot', async () => {
    await using cluster = await startCluster({ flavour })
    const answers = await Promise.all(
      cluster.nodes.map((node) => node.command('SET', 'key', 'value').catch((error: Error) => error.message)),
    )
    expect(answers.filter((answer) => answer === 'OK')).toHaveLength(1)
    expect(answers.filter((answer) => String(answer).startsWith('MOVED'))).toHaveLength(2)
  })
})

test('a server that ends by itself is noticed, and can be started again', async () => {
  await using server = await startRedis()
  const { pid } = server.process
  process.kill(pid!, 'SIGKILL')
  await until('The end being noticed', 5000, async () => server.process.pid === undefined)
  await server.process.start()
  expect(await server.command('PING')).toBe('PONG')
  expect(server.process.pid).not.toBe(pid)
})

test('Redis listens by TLS, with a certificate of an authority of the run', async () => {
  await using server = await startRedis({ tls: true })
  expect(server.url).toMatch(/^rediss:/)
  expect(await server.command('PING')).toBe('PONG')
  await expect(command({ host: server.host, port: server.port }, 'PING')).rejects.toThrow()
})

test('a shared server is the same one for who asks twice', async () => {
  const [first, second] = await Promise.all([sharedServer('redis'), sharedServer('redis')])
  expect(first).toEqual(second)
  expect(first.url).toMatch(/^redis:/)
})

test('a link through Toxiproxy is slowed down, cut, and mended', async () => {
  await using redis = await startRedis()
  await using toxiproxy = await startToxiproxy()
  const link = await toxiproxy.proxy('redis', redis)
  const ping = () => command(link, 'PING')
  expect(await ping()).toBe('PONG')
  await link.add('latency', { latency: 150 })
  const startedMs = performance.now()
  await ping()
  expect(performance.now() - startedMs).toBeGreaterThan(140)
  await link.disable()
  await expect(ping()).rejects.toThrow()
  await link.clear()
  expect(await ping()).toBe('PONG')
})

test.each([
  ['RabbitMQ', startRabbitmq],
  ['Kafka', startKafka],
  ['ElasticMQ', startElasticmq],
  ['DynamoDB Local', startDynamodb],
])(
  '%s leaves nothing behind, also when it stands still at its end',
  async (_, start) => {
    const server = await start()
    const { pid, dir } = server.process
    server.process.pause()
    await server[Symbol.asyncDispose]()
    expect(isAlive(pid!)).toBe(false)
    expect(existsSync(dir)).toBe(false)
  },
  90_000,
)

test('HAProxy that finds no node fails, says so, and leaves nothing behind', async () => {
  await expect(startHaproxy(['127.0.0.1:1'])).rejects.toThrow('haproxy being ready did not come about')
}, 90_000)

test.each(['SIGKILL', 'SIGTERM'] as const)('nothing outlives a process that is ended by %s', async (signal) => {
  const owner = spawn(process.execPath, [new URL('owner.ts', import.meta.url).pathname], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [line] = (await once(createInterface(owner.stdout), 'line')) as [string]
  const { pid, dir } = JSON.parse(line) as { pid: number; dir: string }
  expect(isAlive(pid)).toBe(true)
  expect(existsSync(dir)).toBe(true)
  const exited = once(owner, 'exit')
  owner.kill(signal)
  await exited
  await until('The server having gone', 5000, async () => !isAlive(pid) && !existsSync(dir))
})
