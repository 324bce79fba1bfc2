/** Holdfast's tasks, from the parts that a node and a worker are made of. */
import { openDynamodbTasks } from '../../src/backends/dynamodb/task-store.ts'
import { MemoryTaskQueue } from '../../src/backends/memory/task-queue.ts'
import { openKafkaQueue } from '../../src/backends/kafka/task-queue.ts'
import { openPostgres } from '../../src/backends/postgres/open.ts'
import { openPostgresBell } from './pg-bell.ts'
import { openRabbitmqQueue } from '../../src/backends/rabbitmq/task-queue.ts'
import { openSqlite } from '../../src/backends/sqlite/task-store.ts'
import { openSqsQueue } from '../../src/backends/sqs/task-queue.ts'
import { systemClock } from '../../src/ports/clock.ts'
import type { TaskQueue } from '../../src/ports/task-queue.ts'
import type { TaskAdmin, TaskStore } from '../../src/ports/task-store.ts'
import { LoopLeaseKeeper } from '../../src/tasks/lease-keeper.ts'
import { Sweeper } from '../../src/tasks/sweeper.ts'
import { Worker } from '../../src/tasks/worker.ts'
import type { Consumer, Hooks, Place, Probe, Producer } from './system.ts'

const queueName = 'default'
const tool = 'noop'
const say = (message: string, error: unknown): void => {
  process.stderr.write(`holdfast: ${message} ${String(error)} ${String((error as Error).cause ?? '')}\n`)
}

function openStore(url: string, forMigration = false): Promise<TaskStore & TaskAdmin> {
  if (url.startsWith('postgres')) return openPostgres(url, { forMigration })
  if (url.startsWith('dynamodb')) return openDynamodbTasks(url, systemClock)
  return openSqlite(url)
}

interface Parts {
  readonly store: TaskStore & TaskAdmin
  readonly queue: TaskQueue
}
let embedded: Promise<Parts> | undefined

/** Store and queue; an embedded worker and its node have them in common. */
function open(place: Place): Promise<Parts> {
  const opening = async (): Promise<Parts> => ({ store: await openStore(place.url), queue: await openQueue(place) })
  return place.isEmbedded === true ? (embedded ??= opening()) : opening()
}

function openQueue({ url, queueUrl, isEmbedded }: Place): Promise<TaskQueue> {
  const events = { onUp() {}, onDown: (error: unknown) => say('down', error), onRefused: (error: unknown) => say('refused', error) }
  if (queueUrl === undefined) {
    if (isEmbedded === true) return Promise.resolve(new MemoryTaskQueue((error) => say('Refused.', error)))
    return openPostgresBell(url)
  }
  if (queueUrl.startsWith('amqp')) return openRabbitmqQueue(queueUrl, events)
  if (queueUrl.startsWith('kafka')) return openKafkaQueue(queueUrl, events)
  return openSqsQueue(queueUrl, events)
}

export async function prepare(place: Place): Promise<void> {
  const store = await openStore(place.url, true)
  await store.migrate()
  await store.close()
  const queue = await openQueue(place)
  await queue.ensureTopology([queueName])
  await queue.close()
}

export async function probe({ url }: Place): Promise<Probe> {
  const store = await openStore(url)
  return {
    async unfinished() {
      const [backlog] = await store.backlog([queueName])
      return backlog === undefined ? 0 : backlog.ready + backlog.leased + backlog.parked
    },
    close: () => store.close(),
  }
}

export async function producer(place: Place): Promise<Producer> {
  const { store, queue } = await open(place)
  const args = Buffer.alloc(place.payloadBytes, 'x')
  const caller = Buffer.alloc(300, 'c')
  let rung: string[] = []
  let isRinging = false
  const ring = async (id: string): Promise<void> => {
    rung.push(id)
    if (isRinging) return
    isRinging = true
    while (rung.length > 0) {
      const ids = rung
      rung = []
      await queue.ring(queueName, ids).catch((error: unknown) => say('Not rung.', error))
    }
    isRinging = false
  }
  const store_ = (id: string) =>
    store.create({
      id,
      owner: `owner-${id.slice(0, 2)}`,
      tool,
      queue: queueName,
      maxAttempts: 3,
      maxCrashes: 3,
      failsWhenLost: false,
      ttlMs: 3_600_000,
      retentionMs: 3_600_000,
      argsDigest: args.subarray(0, 32),
      args,
      caller,
    })
  return {
    async create(id) {
      await store_(id)
      void ring(id)
    },
    async fill(ids) {
      await Promise.all(ids.map(store_))
    },
    async close() {
      await queue.close()
      await store.close()
    },
  }
}

export async function consumer(place: Place, hooks: Hooks): Promise<Consumer> {
  const { store, queue } = await open(place)
  const leaseMs = place.leaseMs ?? 30_000
  const name = `worker-${process.pid}`
  const keeper = new LoopLeaseKeeper(store, name, { leaseMs, renewMs: leaseMs / 3 }, systemClock, (error) =>
    say('No renewal.', error),
  )
  const result = Buffer.alloc(place.payloadBytes, 'r')
  const worker = new Worker({
    name,
    store,
    queue,
    keeper,
    clock: systemClock,
    run: async ({ task }) => {
      hooks.entered(task.id)
      await hooks.hold()
      return { kind: 'completed', result }
    },
    onChanged: () => undefined,
    onError: say,
    tools: [tool],
    queues: [queueName],
    handlerRevisions: [],
    concurrency: place.concurrency,
    leaseMs,
    pollMs: 1000,
  })
  const nothing = Buffer.from('{}')
  const sweeper = new Sweeper({
    store,
    queue,
    clock: systemClock,
    everyMs: Math.min(5000, leaseMs / 3),
    renewMs: leaseMs / 3,
    sweep: { expiredError: nothing, lostError: nothing, crashBackoffMs: 100, overdueMs: 10_000 },
    onChanged: () => undefined,
    onError: say,
  })
  await worker.start()
  sweeper.start()
  return {
    async close() {
      await worker.drain(0)
      await sweeper.close()
      await keeper.close()
      await queue.close()
      await store.close()
    },
  }
}
