// Load of every kind, and one fault after the other, in an order that a seed decides.
import { setTimeout as sleep } from 'node:timers/promises'
import { modern, openSession, send } from '../clients/raw.ts'
import { until } from '../servers/tools.ts'
import type { TestCluster } from './cluster.ts'
import { judge, type History, type Verdict } from './history.ts'
import { hasResult, Load, seeded } from './load.ts'
import {
  idempotentCall,
  longCall,
  questionOfCall,
  questionOfSession,
  sessionCalls,
  statelessCall,
  streamedCall,
} from './operations.ts'
import { listenTo, StreamKeeper, streamOf, subscribeInit } from './stream-keeper.ts'

/**
 * How long a client waits for the answer to one request before it counts as hanging. A node answers sooner whatever Redis
 * does: the longest request makes a few commands, each of which is given up after its own time-out (1 s by default).
 */
export const CLIENT_TIMEOUT_MS = 10_000
const BOARD = 'board://one'
/** Between two faults: what one broke is whole again before the next. */
const CALM_MS = 1500

type Fault = (cluster: TestCluster, random: () => number) => Promise<void>

const someNode = ({ nodes }: TestCluster, random: () => number) => nodes[Math.floor(random() * nodes.length)]!
const lasting = (random: () => number): Promise<void> => sleep(1500 + random() * 1000)

/** What is done to a cluster. */
export const FAULTS: Readonly<Record<string, Fault>> = {
  async 'node killed'(cluster, random) {
    const { process } = someNode(cluster, random)
    await process.kill('SIGKILL')
    await sleep(random() * 1000)
    await process.start()
  },
  async 'node paused'(cluster, random) {
    const { process } = someNode(cluster, random)
    process.pause()
    await lasting(random)
    process.resume()
  },
  async 'redis restarted'({ redis }, random) {
    await redis.process.kill('SIGKILL')
    await sleep(random() * 1000)
    await redis.process.start()
  },
  async 'redis black-holed'({ link }, random) {
    await link.add('timeout', { timeout: 0 })
    await link.add('timeout', { timeout: 0 }, { stream: 'upstream' })
    await lasting(random)
    await link.clear()
  },
  async 'redis answers lost'({ link }, random) {
    await link.add('timeout', { timeout: 0 })
    await lasting(random)
    await link.clear()
  },
  async 'redis slow'({ link }, random) {
    await link.add('latency', { latency: 200, jitter: 100 })
    await lasting(random)
    await link.clear()
  },
  async 'redis connections reset'({ link }, random) {
    await link.add('reset_peer', { timeout: Math.floor(random() * 200) })
    await lasting(random)
    await link.clear()
  },
  async 'redis refuses'({ link }, random) {
    await link.disable()
    await lasting(random)
    await link.enable()
  },
  async 'redis full'({ redis }, random) {
    await redis.command('CONFIG', 'SET', 'maxmemory-policy', 'noeviction')
    await redis.command('CONFIG', 'SET', 'maxmemory', '1')
    await lasting(random)
    await redis.command('CONFIG', 'SET', 'maxmemory', '0')
  },
}

/** Faults of Redis, in which an ended session may be served on for a while, and a first outcome be forgotten. */
const isOfRedis = (name: string): boolean => name.startsWith('redis')

/** How a run goes. */
export interface ChaosSettings {
  seed: number
  /** Names of faults, done in an order of the seed's. */
  faults: readonly string[]
  /** Goes through the faults again until this has passed. 0: once. */
  durationMs?: number
  /** Is told of each fault. */
  onFault?: (name: string) => void
}

/** Runs it; afterwards each open stream must hear of one change once. */
export async function runChaos(
  cluster: TestCluster,
  history: History,
  { seed, faults, durationMs = 0, onFault }: ChaosSettings,
): Promise<Verdict> {
  const random = seeded(seed)
  const { url } = cluster
  const keepers = await openStreams(url)
  const load = new Load(url, history, { maxTries: 20, timeoutMs: CLIENT_TIMEOUT_MS })
  const breaksRedis = faults.some(isOfRedis)
  let client = seed * 1000
  for (let index = 0; index < 3; index++) load.add('2026 call', client++, 20, statelessCall)
  load.add('2026 call of half a second', client++, 20, longCall(500))
  load.add('2026 call with idempotency key', client++, 50, idempotentCall)
  for (let index = 0; index < 2; index++)
    load.add('2025 session', client++, 20, sessionCalls({ checkEnd: !breaksRedis }))
  for (let index = 0; index < 2; index++) load.add('2025 call with progress', client++, 20, streamedCall(8, 60))
  load.add('2026 call that asks', client++, 50, questionOfCall)
  load.add('2025 call that asks', client++, 50, questionOfSession)
  const endMs = performance.now() + durationMs
  try {
    do {
      for (const name of shuffled(faults, random)) {
        onFault?.(name)
        await history.fault(name, () => FAULTS[name]!(cluster, random))
        await sleep(CALM_MS)
      }
    } while (performance.now() < endMs)
  } finally {
    await load.stop()
  }
  const verdict = judge(history.file, ['node paused'])
  verdict.problems.push(...(await lastWord(url, keepers)))
  return verdict
}

function shuffled<T>(items: readonly T[], random: () => number): T[] {
  const rest = [...items]
  return items.map(() => rest.splice(Math.floor(random() * rest.length), 1)[0]!)
}

async function openStreams(url: string): Promise<StreamKeeper[]> {
  const keepers: StreamKeeper[] = []
  for (let index = 0; index < 3; index++) {
    const { headers } = await openSession(url)
    await send(url, subscribeInit(headers, BOARD))
    keepers.push(new StreamKeeper(url, streamOf(headers)), new StreamKeeper(url, listenTo(BOARD)))
  }
  await until('The streams being open', 5000, async () => keepers.every(({ isOpen }) => isOpen))
  return keepers
}

/** After everything: every stream is open again, and hears of a change, once. */
async function lastWord(url: string, keepers: readonly StreamKeeper[]): Promise<string[]> {
  const problems = keepers.flatMap((keeper) => keeper.problems)
  const updates = ({ seen }: StreamKeeper): number =>
    seen.filter((method) => method.endsWith('resources/updated')).length
  try {
    await until('The streams being open again', 10_000, async () => keepers.every(({ isOpen }) => isOpen))
    await sleep(500) // those that were just opened have begun to follow
    const before = keepers.map(updates)
    const { message, text } = await modern(url, 'tools/call', { name: 'touch', arguments: {} })
    if (!hasResult({ message })) throw new Error(`the change could not be made: ${text}`)
    await until('Every stream hearing of the change', 5000, async () =>
      keepers.every((keeper, index) => updates(keeper) > before[index]!),
    )
    await sleep(300) // a repeat would come now
    for (const [index, keeper] of keepers.entries())
      if (updates(keeper) !== before[index]! + 1)
        problems.push(`a stream heard of one change ${updates(keeper) - before[index]!} times`)
  } catch (error) {
    problems.push((error as Error).message)
    for (const [index, { isOpen, seen }] of keepers.entries())
      problems.push(
        `${index % 2 === 0 ? '2025' : '2026'} stream ${index}: ${isOpen ? 'open' : 'closed'}, saw ${JSON.stringify(seen.slice(-5))}`,
      )
  } finally {
    await Promise.all(keepers.map((keeper) => keeper.close()))
  }
  return problems
}
