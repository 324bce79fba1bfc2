import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, test } from 'vitest'
import { defineServer, defineTool, type RequestLimit, type RuntimeOptions } from '../../src/index.ts'
import { generateKeys } from '../../src/kernel/key-ring.ts'
import { withOptions } from '../contracts/redis.ts'
import { startRedis } from '../servers/redis.ts'
import { needs, sharedServer } from '../servers/shared.ts'
import { startToxiproxy } from '../servers/toxiproxy.ts'
import { nodeOf, type Answer, type NodeUnderTest } from './support.ts'

await needs('redis', 'toxiproxy')
const shared = await sharedServer('redis')
const cluster = await sharedServer('redis-cluster')

const work = defineTool({ name: 'work', description: 'Has no limits of its own', run: () => 'done' })
const paid = defineTool({
  name: 'paid',
  description: 'Costs money',
  limits: [{ per: 'tenant', limit: 1000, windowMs: 60_000, onStateLost: 'closed' }],
  run: () => 'paid',
})
const server = defineServer({ name: 'limited', version: '1.0.0', tools: [work, paid] })
const keys = generateKeys()
let run = 0

const opened: AsyncDisposable[] = []
afterEach(async () => {
  for (const one of opened.splice(0).toReversed()) await one[Symbol.asyncDispose]()
})

/** Where answers are not withheld, none may be too late either, however busy the machine is. */
const PATIENT_MS = 10_000
/** Where they are: what a request may wait. */
const IMPATIENT_MS = 300

/** Three nodes on one Redis; callers say who they are in a header. */
async function threeNodes(
  where: { url: string; caFile?: string },
  limits: readonly RequestLimit[],
  commandTimeoutMs = PATIENT_MS,
): Promise<NodeUnderTest[]> {
  const options: RuntimeOptions = {
    state: `${withOptions(where, `limits-${process.pid}-${++run}`)}&commandTimeoutMs=${commandTimeoutMs}`,
    keys,
    limits,
    auth: {
      authenticate: (request) => {
        const [tenant = '', subject = ''] = (request.header('x-caller') ?? '').split('/')
        return { issuer: 'https://issuer.example', tenant, subject, scopes: [] }
      },
    },
  }
  const nodes = []
  for (let index = 0; index < 3; index++) {
    const node = await nodeOf(server, options)
    opened.push(node)
    nodes.push(node)
  }
  return nodes
}

const call = (node: NodeUnderTest, caller: string, name = 'work'): Promise<Answer> =>
  node.modern('tools/call', { name, arguments: {} }, { 'x-caller': caller })

/** Calls in turn at each node, so many at once; what came back, by HTTP status. */
async function calls(
  nodes: readonly NodeUnderTest[],
  count: number,
  caller = 'acme/ann',
): Promise<Record<number, number>> {
  const answers = await Promise.all(
    Array.from({ length: count }, (_, index) => call(nodes[index % nodes.length]!, caller)),
  )
  const byStatus: Record<number, number> = {}
  for (const { status } of answers) byStatus[status] = (byStatus[status] ?? 0) + 1
  return byStatus
}

async function metric(nodes: readonly NodeUnderTest[], pattern: RegExp): Promise<number> {
  let sum = 0
  for (const node of nodes) {
    const { body } = await node.runtime.metrics()
    for (const line of body.split('\n')) if (pattern.test(line)) sum += Number(line.split(' ').at(-1))
  }
  return sum
}

describe.each([
  ['one Redis', shared],
  ['a Redis Cluster', cluster],
])('three nodes on %s', (_name, where) => {
  test('let exactly as much pass as the limit says, each caller and each tenant for itself', async () => {
    const nodes = await threeNodes(where, [
      { per: 'principal', limit: 40, windowMs: 3_600_000 },
      { per: 'tenant', limit: 60, windowMs: 3_600_000 },
    ])
    expect(await calls(nodes, 75, 'acme/ann')).toEqual({ 200: 40, 429: 35 })
    expect(await calls(nodes, 45, 'acme/bob')).toEqual({ 200: 20, 429: 25 })
    expect(await calls(nodes, 45, 'globex/ann')).toEqual({ 200: 40, 429: 5 })
    expect(await metric(nodes, /^holdfast_degraded_total/)).toBe(0)
  })

  test('pass a global limit by no more than what they had leased', async () => {
    const nodes = await threeNodes(where, [{ per: 'global', limit: 100, windowMs: 1000 }])
    const startedMs = performance.now()
    let passed = 0
    for (let round = 0; round < 15; round++) passed += (await calls(nodes, 60))[200] ?? 0
    const tookMs = performance.now() - startedMs
    // Burst, what came back, and three portions of ten.
    expect(passed).toBeLessThanOrEqual(100 + (tookMs / 1000) * 100 + 30)
    expect(passed).toBeGreaterThanOrEqual(100)
    expect(await metric(nodes, /^holdfast_degraded_total/)).toBe(0)
  })
})

test('what a client is told comes from the bucket that all nodes share', async () => {
  const nodes = await threeNodes(shared, [{ per: 'principal', limit: 3, windowMs: 60_000 }])
  const told = []
  for (let index = 0; index < 4; index++) {
    const { status, headers } = await call(nodes[index % 3]!, 'acme/ann')
    told.push([status, headers.get('ratelimit'), headers.get('retry-after')])
  }
  expect(told).toEqual([
    [200, '"principal-60s";r=2;t=40', null],
    [200, '"principal-60s";r=1;t=20', null],
    [200, '"principal-60s";r=0;t=20', null],
    [429, '"principal-60s";r=0;t=20', '20'],
  ])
})

test('with Redis killed in mid-run nobody gets worse than a refusal, and each node keeps its share; afterwards all is as before', async () => {
  await using redis = await startRedis()
  const nodes = await threeNodes(redis, [{ per: 'principal', limit: 300, windowMs: 3_600_000 }])
  await sleep(1200) // for the nodes to have heard of each other
  expect(await calls(nodes, 30)).toEqual({ 200: 30 })
  const slowest = { ms: 0 }
  const statuses = new Set<number>()
  const load = async (untilMs: number, caller: string): Promise<number> => {
    let passed = 0
    for (let index = 0; performance.now() < untilMs; index++) {
      const startedMs = performance.now()
      const { status } = await call(nodes[index % 3]!, caller)
      slowest.ms = Math.max(slowest.ms, performance.now() - startedMs)
      statuses.add(status)
      if (status === 200) passed++
    }
    return passed
  }
  const loaded = Promise.all([
    load(performance.now() + 3000, 'acme/bob'),
    load(performance.now() + 3000, 'globex/carl'),
  ])
  await sleep(500)
  await redis.process.kill()
  const passed = await loaded
  // Both buckets hold 300, the shared one and those of the nodes together; one token comes back in twelve seconds.
  for (const one of passed) expect(one).toBeLessThanOrEqual(602)
  expect([...statuses].every((status) => status === 200 || status === 429)).toBe(true)
  expect(await calls(nodes, 400, 'acme/dora')).toEqual({ 200: 300, 429: 100 })
  expect(await metric(nodes, /^holdfast_limit_decisions_total.*allowed_local/)).toBeGreaterThan(300)
  expect(await metric(nodes, /^holdfast_degraded_total\{feature="limits"/)).toBeGreaterThan(400)
  expect((await call(nodes[0]!, 'acme/ann', 'paid')).status).toBe(503)
  // Connections that are refused tell at once that the store is gone.
  expect(slowest.ms).toBeLessThan(3000)

  await redis.process.start()
  await expect
    .poll(async () => (await call(nodes[0]!, 'acme/ann', 'paid')).status, { timeout: 10_000, interval: 250 })
    .toBe(200)
  for (const node of nodes)
    await expect
      .poll(async () => (await call(node, 'x/probe', 'paid')).status, { timeout: 10_000, interval: 250 })
      .toBe(200)
  expect(await calls(nodes, 400, 'acme/emil')).toEqual({ 200: 300, 429: 100 })
}, 60_000)

test('with Redis silent, only the requests of the first moment wait, and no longer than a command may take', async () => {
  await using toxiproxy = await startToxiproxy()
  await using redis = await startRedis()
  const link = await toxiproxy.proxy('redis', redis)
  const nodes = await threeNodes(
    { url: `redis://${link.host}:${link.port}` },
    [{ per: 'principal', limit: 3000, windowMs: 60_000 }],
    IMPATIENT_MS,
  )
  const node = nodes[0]!
  expect((await call(node, 'acme/ann')).status).toBe(200)
  await link.add('timeout', { timeout: 0 })
  const startedMs = performance.now()
  expect((await call(node, 'acme/ann')).status).toBe(200)
  expect(performance.now() - startedMs).toBeGreaterThan(200)
  expect(performance.now() - startedMs).toBeLessThan(3000)
  const times = []
  for (let index = 0; index < 100; index++) {
    const sentMs = performance.now()
    expect((await call(node, 'acme/ann')).status).toBe(200)
    times.push(performance.now() - sentMs)
  }
  // Probes of the background fall into these; they hold up nobody.
  expect(times.toSorted((a, b) => a - b)[50]).toBeLessThan(200)
}, 60_000)
