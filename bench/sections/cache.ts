/** What a cached result costs: a tool's from memory, a value from Redis, and one flight for a thousand callers. */
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { startRedis } from '../../test/servers/redis.ts'
import type { CacheSystem } from '../cache/system.ts'
import type { Context, SectionReport } from '../lib/context.ts'
import { inHandler } from '../lib/in-handler.ts'
import { loadNote } from '../lib/machine.ts'
import { peersDir } from '../lib/peers.ts'
import { clearProgress, progress } from '../lib/progress.ts'
import { median, pairedRatio, quantile } from '../lib/stats.ts'
import { ratio, table } from '../lib/table.ts'
import { holdfastCommand } from '../lib/targets.ts'
import type { Target } from '../lib/targets.ts'
import { throughput } from './throughput.ts'
import type { Summary } from './throughput.ts'

const ttlMs = 600_000
const nodes = 3
/** Read one after the other by a process that has not seen them. */
const keys = 2000
const callers = 1000
/** What the thousand wait for. */
const computeMs = 50
const rounds = 5
const wantedHit = 0.9
const wantedRedisMs = 1

/** A value such as a model's short answer. */
const value = (key: string): string => `${key} ${'x'.repeat(1000)}`

/** A tool's hit beside the tool, over HTTP; then the tiers, beside bentocache. */
export async function cache(context: Context): Promise<SectionReport | undefined> {
  const holdfast = context.targets.find(({ label, wire }) => label === 'Holdfast' && wire.mode === 'envelope')
  if (holdfast === undefined) return undefined
  const plain = context.targets[0]!
  const uncached: Target = { ...holdfast, name: 'uncached', label: 'add, not cached' }
  const cached: Target = {
    ...holdfast,
    name: 'cached',
    label: 'add, from memory',
    command: holdfastCommand('cached', 'cached.ts', `${context.scratchDir}/cached`),
  }
  const hits = await throughput(
    { ...context, targets: [plain, uncached, cached] },
    'add',
    'A cached tool beside the same without a cache',
  )
  const tiers = await measureTiers(context.tasks.hasPeers)
  clearProgress()
  const text = [hits.text, '', hitLine(hits.data), '', tiers.text, loadNote()].join('\n')
  return {
    title: 'Caching',
    text,
    data: { hits: hits.data, tiers: tiers.data },
    failures: hits.failures + tiers.failures,
  }
}

function hitLine(summaries: readonly Summary[]): string {
  const rates = (name: string): number[] =>
    summaries.find((summary) => summary.name === name)!.rounds.map(({ requestsPerSecond }) => requestsPerSecond)
  return `A hit in memory, of the uncached tool's rate: ${ratio(pairedRatio(rates('cached'), rates('uncached')))} (${wantedHit} or more).`
}

interface Round {
  redisMs: number[]
  memoryUs: number[]
  /** Until the last of the thousand had its value. */
  stampedeMs: number
  computed: number
}

async function measureTiers(hasPeers: boolean): Promise<{ text: string; data: unknown; failures: number }> {
  const systems: { name: string; open: (url: string) => Promise<CacheSystem> }[] = [
    { name: 'Holdfast', open: openHoldfast },
    ...(hasPeers ? [{ name: 'bentocache', open: openBentocache }] : []),
  ]
  const measured = systems.map(({ name }) => ({ name, rounds: [] as Round[] }))
  for (let round = 0; round < rounds; round++) {
    for (const [index, { name, open }] of systems.entries()) {
      progress(`cache: round ${round + 1} of ${rounds}, ${name}`)
      await using redis = await startRedis()
      measured[index]!.rounds.push(await measureRound(() => open(redis.url)))
    }
  }
  const rows = measured.map(({ name, rounds: all }) => {
    const redisMs = all.flatMap((round) => round.redisMs)
    const memoryUs = all.flatMap((round) => round.memoryUs)
    return [
      name,
      quantile(memoryUs, 0.5).toFixed(1),
      quantile(redisMs, 0.5).toFixed(2),
      quantile(redisMs, 0.99).toFixed(2),
      median(all.map((round) => round.stampedeMs)).toFixed(0),
      all.map((round) => round.computed).join(', '),
    ]
  })
  const head = [
    'ctx.cache',
    'memory p50 µs',
    'Redis p50 ms',
    'p99 ms',
    `${callers} callers, ms`,
    'computed (each round)',
  ]
  const failures = measured[0]!.rounds.filter((round) => round.computed !== 1).length
  return {
    text: `${table(head, rows)}\nA hit in Redis: p50 ${wantedRedisMs} ms or less. ${callers} callers at ${nodes} processes' caches ask for one value that takes ${computeMs} ms.`,
    data: measured,
    failures,
  }
}

async function measureRound(open: () => Promise<CacheSystem>): Promise<Round> {
  const caches: CacheSystem[] = []
  try {
    for (let index = 0; index < nodes; index++) caches.push(await open())
    const [writer, reader] = caches as [CacheSystem, CacheSystem]
    for (let index = 0; index < keys; index++) await writer.get(`key-${index}`, async () => value(`key-${index}`))
    const never = (): Promise<string> => Promise.reject(new Error('computed a value that is cached'))
    const redisMs: number[] = []
    const memoryUs: number[] = []
    for (const tier of ['redis', 'memory']) {
      for (let index = 0; index < keys; index++) {
        const startedMs = performance.now()
        const got = await reader.get(`key-${index}`, never)
        const tookMs = performance.now() - startedMs
        if (got !== value(`key-${index}`)) throw new Error(`key-${index} came back as another value`)
        if (tier === 'redis') redisMs.push(tookMs)
        else memoryUs.push(tookMs * 1000)
      }
    }
    let computed = 0
    const compute = async (): Promise<string> => {
      computed++
      await wait(computeMs)
      return value('hot')
    }
    const startedMs = performance.now()
    await Promise.all(Array.from({ length: callers }, (_, index) => caches[index % nodes]!.get('hot', compute)))
    return { redisMs, memoryUs, stampedeMs: performance.now() - startedMs, computed }
  } finally {
    await Promise.all(caches.map((one) => one.close()))
  }
}

async function openHoldfast(url: string): Promise<CacheSystem> {
  const { ctx, close } = await inHandler({ state: url, keys: `bench:${Buffer.alloc(32, 'bench').toString('base64')}` })
  return {
    get: (key, compute) => ctx.cache('bench', key, compute, { ttlMs, scope: 'public' }),
    close,
  }
}

async function openBentocache(url: string): Promise<CacheSystem> {
  const { open } = (await import(pathToFileURL(join(peersDir, 'cache.js')).href)) as { open(url: string): CacheSystem }
  return open(url)
}
