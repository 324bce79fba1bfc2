// One run: servers, workers, clients, the nemesis; then calm, the audit, and the verdict of the checker.
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { TaskStore } from '../../src/ports/task-store.ts'
import { until } from '../servers/tools.ts'
import { startToxiproxy } from '../servers/toxiproxy.ts'
import { QUEUE, type QueueName, type StoreName } from './backends/backend.ts'
import { startQueue } from './backends/queues.ts'
import { startStore } from './backends/stores.ts'
import type { RunSettings } from './check/operations.ts'
import { checkFile, type Verdict } from './checker.ts'
import type { TaskClient } from './client.ts'
import { HistoryWriter } from './history.ts'
import { Load, type Followed } from './load.ts'
import { backendFaults, processFaults, schedule, strike } from './nemesis.ts'
import type { BrokenBuild } from './processes/broken.ts'
import { ChaosProcess } from './processes/chaos-process.ts'
import { digestOf } from './processes/recorded-store.ts'

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
  /** Ends it early. */
  readonly signal?: AbortSignal
}

const LEASE_MS = 2000
const WORKERS = 4
const CONCURRENCY = 5
const CLIENTS = 16
const RETENTION_MS = 20_000
const LIMITS = { maxAttempts: 5, maxCrashes: 5 }
const OWNERS = ['ann', 'bob']
/** Before the first fault: workers that nothing touches must keep their tasks. */
const CALM_MS = 3000
/** So long tasks may take to end once everything is whole. */
const SETTLE_MS = 60_000

/** Runs it, and judges it by its history. */
export async function runChaos(settings: ChaosSettings): Promise<Verdict> {
  const { store: storeName, queue: queueName, seed, seconds, onProgress = () => undefined, signal } = settings
  await using stack = new AsyncDisposableStack()
  const toxiproxy = stack.use(await startToxiproxy())
  onProgress('starting servers')
  const starting = [startStore(storeName, toxiproxy), startQueue(queueName, toxiproxy)] as const
  for (const one of await Promise.allSettled(starting)) if (one.status === 'fulfilled') stack.use(one.value)
  const [store, queue] = await Promise.all(starting)
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
  const workers = await Promise.all(
    Array.from({ length: WORKERS }, async (_, index) => {
      const name = `worker-${index + 1}`
      const urls = { tasks: await store.urlFor(name), queue: await queue.urlFor(name) }
      return stack.use(
        await ChaosProcess.launch({
          name,
          module: join(import.meta.dirname, 'processes/worker.ts'),
          settings: ({ control }) => ({
            name,
            history: settings.history,
            ...urls,
            controlPort: control,
            concurrency: CONCURRENCY,
            leaseMs: LEASE_MS,
            ...(settings.build === undefined ? {} : { build: settings.build }),
          }),
        }),
      )
    }),
  )
  const auditorsStore = stack.adopt(await store.open(), (one) => one.close())
  const auditor = new HistoryWriter(settings.history, 'auditor')
  const audits = new Audits(auditorsStore, auditor)
  const load = new Load(
    {
      seed,
      history: (client) => new HistoryWriter(settings.history, client),
      ways: OWNERS.map((owner) => direct(auditorsStore, owner)),
      limits: LIMITS,
      retentionMs: RETENTION_MS,
      onEnded: (followed) => audits.add(followed),
    },
    CLIENTS,
  )
  const victims = { workers, nodes: [], store, queue, leaseMs: LEASE_MS }
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
  const over =
    signal === undefined
      ? AbortSignal.timeout(CALM_MS + seconds * 1000)
      : AbortSignal.any([signal, AbortSignal.timeout(CALM_MS + seconds * 1000)])
  try {
    await sleep(CALM_MS, undefined, { signal: over }).catch(() => undefined)
    const lanes = [schedule(processFaults(victims), seed, 'worker killed'), schedule(backendFaults(victims), seed + 1)]
    await Promise.all(lanes.map((lane) => strike(lane, history, over, onStrike)))
    last = 'calm again'
    await store.links?.clear()
    await queue.links?.clear()
    for (const worker of workers) await worker.revive()
  } finally {
    await load.stop(SETTLE_MS)
  }
  signal?.throwIfAborted()
  last = 'the audit'
  await audits.finish(load.created)
  last = 'what is left'
  await leftovers(store, queue, auditor)
  run.ok()
  auditor.close()
  const verdict = checkFile(settings.history)
  if (verdict.problems.length > 0) onProgress(workers.map((worker) => `--- ${worker.name}\n${worker.log()}`).join('\n'))
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

  async finish(all: readonly Followed[]): Promise<void> {
    await this.#queue
    for (const followed of all) {
      const isOpen = async (): Promise<boolean> => {
        const row = await this.#store.get(followed.task, followed.owner)
        return row !== undefined && !['completed', 'failed', 'cancelled'].includes(row.state)
      }
      if (!this.#seen.has(followed.task) && (await isOpen()))
        await until('', SETTLE_MS / 6, async () => !(await isOpen())).catch(() => undefined)
      await this.#look(followed)
    }
  }

  async #look({ task, owner }: Followed): Promise<void> {
    const row = await this.#store.get(task, owner)
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

function direct(store: TaskStore, owner: string): TaskClient {
  return {
    via: 'direct',
    owner,
    async create(plan, idempotencyKey) {
      const { task } = await store.create({
        id: randomUUID(),
        owner,
        tool: 'work',
        queue: QUEUE,
        ...LIMITS,
        failsWhenLost: false,
        ttlMs: undefined,
        retentionMs: RETENTION_MS,
        idempotencyKey,
        argsDigest: Buffer.from(''),
        args: Buffer.from(JSON.stringify(plan)),
        caller: Buffer.from(''),
      })
      return task.id
    },
    async read(id) {
      const task = await store.get(id, owner)
      if (task === undefined) return { seen: { state: 'missing' }, asks: [] }
      const { state, result, error, asks } = task
      if (state === 'completed')
        return { seen: { state, result: JSON.parse(Buffer.from(result!).toString()) }, asks: [] }
      if (state === 'failed') return { seen: { state, error: JSON.parse(Buffer.from(error!).toString()) }, asks: [] }
      if (state === 'cancelled') return { seen: { state }, asks: [] }
      return { seen: { state: asks.length > 0 ? 'input_required' : 'working' }, asks: asks.map(({ name }) => name) }
    },
    answer: async (id, name, value) =>
      void (await store.answer(id, owner, [{ name, value: Buffer.from(JSON.stringify(value)) }])),
    cancel: async (id) => void (await store.cancel(id, owner)),
  }
}
