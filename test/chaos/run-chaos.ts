// One run: servers, workers, clients, the nemesis; then calm, the audit, and the verdict of the checker.
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { API_KEY_ISSUER, createApiKey } from '../../src/auth/api-keys.ts'
import { generateKeys } from '../../src/compose/options.ts'
import { ownerOf } from '../../src/kernel/owner.ts'
import type { TaskStore } from '../../src/ports/task-store.ts'
import { startRedis } from '../servers/redis.ts'
import { until } from '../servers/tools.ts'
import { guard, release } from '../servers/watchdog.ts'
import { startToxiproxy } from '../servers/toxiproxy.ts'
import type { QueueName, StoreName } from './backends/backend.ts'
import { startQueue } from './backends/queues.ts'
import { startStore } from './backends/stores.ts'
import type { RunSettings } from './check/operations.ts'
import { checkFile, type Verdict } from './checker.ts'
import { TaskClient } from './client.ts'
import { HistoryWriter } from './history.ts'
import { LIMITS } from './limits.ts'
import { Load, type Followed } from './load.ts'
import { backendFaults, FIRST, processFaults, schedule, strike } from './nemesis.ts'
import type { BrokenBuild } from './processes/broken.ts'
import { ChaosProcess } from './processes/chaos-process.ts'
import type { MemberSettings } from './processes/this-process.ts'
import { digestOf } from './processes/recorded.ts'

/** How a run goes. */
export interface ChaosSettings {
  readonly store: StoreName
  readonly queue: QueueName
  readonly seed: number
  /** Of faults under load; what comes before and after is not counted. */
  readonly seconds: number
  /** Where the history is written. */
  readonly history: string
  readonly build?: BrokenBuild | undefined
  /** Told how far it is. */
  readonly onProgress?: (line: string) => void
}

const MEMBER = join(import.meta.dirname, 'processes/member.ts')
const LEASE_MS = 2000
const HUNG_AFTER_MS = 1500
const NODES = 3
const WORKERS = 4
const CONCURRENCY = 5
const CLIENTS = 16
const RETENTION_MS = 20_000
const OWNERS = ['ann', 'bob']
/** Before the first fault: workers that nothing touches must keep their tasks. */
const CALM_MS = 6000
/** So long tasks may take to end once everything is whole. */
const SETTLE_MS = 60_000

/** Of a broken build it is known that they don't. */
const settleMsOf = ({ build }: ChaosSettings): number => (build === undefined ? SETTLE_MS : SETTLE_MS / 6)

/** Runs it, and judges it by its history. */
export async function runChaos(settings: ChaosSettings): Promise<Verdict> {
  const { store: storeName, queue: queueName, seed, seconds, onProgress = () => undefined } = settings
  await using stack = new AsyncDisposableStack()
  const settleMs = settleMsOf(settings)
  const toxiproxy = stack.use(await startToxiproxy())
  onProgress('starting servers')
  const starting = [startStore(storeName, toxiproxy), startQueue(queueName, toxiproxy), startRedis()] as const
  for (const one of await Promise.allSettled(starting)) if (one.status === 'fulfilled') stack.use(one.value)
  const [store, queue, redis] = await Promise.all(starting)
  const history = stack.adopt(new HistoryWriter(settings.history, 'nemesis'), (one) => one.close())
  const value: RunSettings = {
    store: storeName,
    queue: queueName,
    seed,
    leaseMs: LEASE_MS,
    retentionMs: RETENTION_MS,
    skewMs: storeName === 'dynamodb' ? 15_000 : 0,
  }
  const run = history.begin('run', { value })
  const apiKeys = OWNERS.map((subject) => ({ subject, ...createApiKey({ subject }) }))
  const keys = generateKeys()
  const cache = `${settings.history}.cache`
  guard({ folder: cache })
  stack.defer(async () => {
    await rm(cache, { recursive: true, force: true })
    await release({ folder: cache })
  })
  const start = async (role: MemberSettings['role'], index: number): Promise<ChaosProcess> => {
    const name = `${role}-${index + 1}`
    const urls = { tasks: await store.urlFor(name), queue: await queue.urlFor(name), state: redis.url }
    const member = (ports: { control: number; http: number }): MemberSettings => ({
      name,
      role,
      ...urls,
      keys,
      apiKeys: apiKeys.map(({ entry }) => entry),
      history: settings.history,
      controlPort: ports.control,
      httpPort: ports.http,
      concurrency: CONCURRENCY,
      leaseMs: LEASE_MS,
      hungAfterMs: HUNG_AFTER_MS,
      retentionMs: RETENTION_MS,
      ...(settings.build === undefined ? {} : { build: settings.build }),
    })
    return stack.use(
      await ChaosProcess.launch({ name, module: MEMBER, settings: member, env: { NODE_COMPILE_CACHE: cache } }),
    )
  }
  onProgress('starting nodes and workers')
  const nodes = await Promise.all(Array.from({ length: NODES }, (_, index) => start('node', index)))
  const workers = await Promise.all(Array.from({ length: WORKERS }, (_, index) => start('worker', index)))
  const auditorsStore = stack.adopt(await store.open(), (one) => one.close())
  const auditor = new HistoryWriter(settings.history, 'auditor')
  const audits = new Audits(auditorsStore, auditor)
  const load = new Load(
    {
      seed,
      history: (client) => new HistoryWriter(settings.history, client),
      ways: apiKeys.flatMap(({ subject, key }) =>
        nodes.map(({ name, httpPort }) => new TaskClient(subject, name, `http://127.0.0.1:${httpPort}/mcp`, key)),
      ),
      limits: LIMITS,
      retentionMs: RETENTION_MS,
      onEnded: (followed) => audits.add(followed),
    },
    CLIENTS,
  )
  const victims = { workers, nodes, store, queue, leaseMs: LEASE_MS }
  const startedMs = performance.now()
  let last = 'calm'
  const report = (): void =>
    onProgress(
      `${((performance.now() - startedMs) / 1000).toFixed(0)} s, ${load.created.length} tasks, ${audits.count} ended: ${last}`,
    )
  const ticker = setInterval(report, 500)
  stack.defer(() => clearInterval(ticker))
  const onStrike = (name: string): void => {
    last = name
    report()
  }
  const over = AbortSignal.timeout(Math.round(CALM_MS + seconds * 1000))
  try {
    await sleep(CALM_MS)
    const lanes = [schedule(processFaults(victims), seed, FIRST), schedule(backendFaults(victims), seed + 1)]
    await Promise.all(lanes.map((lane) => strike(lane, history, over, onStrike)))
    last = 'calm again'
    await store.links?.clear()
    await queue.links?.clear()
    for (const member of [...nodes, ...workers]) await member.revive()
  } finally {
    await load.stop(settleMs)
  }
  last = 'the audit'
  await audits.finish(load.created, settleMs)
  last = 'what is left'
  if (settings.build === undefined) await leftovers(store, queue, auditor)
  run.ok()
  auditor.close()
  const verdict = checkFile(settings.history)
  if (verdict.problems.length > 0)
    for (const member of [...nodes, ...workers]) await member.keepLog(`${settings.history}.${member.name}.log`)
  return verdict
}

/** Reads rows as they lie in the store, past every fault: once when a client has seen the end, and once at the end of the run. */
class Audits {
  readonly #store: TaskStore
  readonly #history: HistoryWriter
  readonly #seen = new Set<string>()
  #queue: Promise<void> = Promise.resolve()

  constructor(store: TaskStore, history: HistoryWriter) {
    this.#store = store
    this.#history = history
  }

  get count(): number {
    return this.#seen.size
  }

  add(followed: Followed): void {
    this.#seen.add(followed.task)
    this.#queue = this.#queue.then(() => this.#look(followed)).catch(() => undefined) // the store is away: it is read at the end
  }

  async finish(all: readonly Followed[], waitMs: number): Promise<void> {
    await this.#queue
    for (const followed of all) {
      const isOpen = async (): Promise<boolean> => {
        const row = await this.#store.get(followed.task, ownerId(followed.owner))
        return row !== undefined && !['completed', 'failed', 'cancelled'].includes(row.state)
      }
      if (!this.#seen.has(followed.task) && (await isOpen()))
        await until('', waitMs / 6, async () => !(await isOpen())).catch(() => undefined)
      await this.#look(followed)
    }
  }

  async #look({ task, owner }: Followed): Promise<void> {
    const row = await this.#store.get(task, ownerId(owner))
    if (row === undefined) return // purged by now; that it was not too early is for the clients' reads to show
    const { state, fence, doneFence, attempts, crashes, dead, result } = row
    this.#history.note('row', {
      task,
      value: { state, fence, doneFence, attempts, crashes, dead, result: digestOf(result) },
    })
  }
}

/** Counts what there is once retention has passed and nothing is to come. */
async function leftovers(
  store: { rest(): Promise<Record<string, number>> },
  queue: { rest(): Promise<Record<string, number>> },
  history: HistoryWriter,
): Promise<void> {
  const count = async (): Promise<Record<string, number>> => ({ ...(await store.rest()), ...(await queue.rest()) })
  const isEmpty = async (): Promise<boolean> => Object.values(await count()).every((left) => left === 0)
  await until('An empty store', RETENTION_MS * 2, isEmpty).catch(() => undefined) // the count says what is left
  history.note('rest', { value: await count() })
}

const ownerId = (subject: string): string => ownerOf({ issuer: API_KEY_ISSUER, subject, scopes: [] })
