// A worker of a run, in a process of its own: `worker.ts '<settings>'`.
import { openDynamodbTasks } from '../../../src/backends/dynamodb/task-store.ts'
import { openKafkaQueue } from '../../../src/backends/kafka/task-queue.ts'
import { MemoryTaskQueue } from '../../../src/backends/memory/task-queue.ts'
import { openPostgres } from '../../../src/backends/postgres/open.ts'
import { openRabbitmqQueue } from '../../../src/backends/rabbitmq/task-queue.ts'
import { openSqlite } from '../../../src/backends/sqlite/task-store.ts'
import { openSqsQueue } from '../../../src/backends/sqs/task-queue.ts'
import { systemClock, type Clock } from '../../../src/ports/clock.ts'
import type { TaskQueue } from '../../../src/ports/task-queue.ts'
import type { TaskStore } from '../../../src/ports/task-store.ts'
import { openLeaseKeeper } from '../../../src/compose/lease-keeper.ts'
import { Sweeper } from '../../../src/tasks/sweeper.ts'
import { Worker, type Attempt, type AttemptOutcome } from '../../../src/tasks/worker.ts'
import { QUEUE } from '../backends/backend.ts'
import { HistoryWriter } from '../history.ts'
import { broken, type BrokenBuild } from './broken.ts'
import { serveCommands } from './control.ts'
import { runPlan, Transient, type Action } from './plan.ts'
import { Crash, RecordedTaskStore, withCrash } from './recorded-store.ts'

/** What a process of a run is told. */
export interface ProcessSettings {
  readonly name: string
  readonly history: string
  readonly tasks: string
  readonly queue: string
  readonly controlPort: number
  readonly concurrency: number
  readonly leaseMs: number
  readonly build?: BrokenBuild
}

const settings = JSON.parse(process.argv[2]!) as ProcessSettings
const { name, leaseMs, build } = settings
const history = new HistoryWriter(settings.history, name)
const crash = new Crash(history)
let skewMs = 0
const clock: Clock = { ...systemClock, now: () => Date.now() + skewMs }
let isBlocked = false
await serveCommands(settings.controlPort, {
  arm: ({ point }) => crash.arm(point ?? undefined),
  skew: ({ ms }) => void (skewMs = ms),
  block({ ms }) {
    isBlocked = true
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
  },
})
watchLoop()

const owners = new Map<string, string>()
const store = new RecordedTaskStore(
  broken(build, await openStore(settings.tasks), (id) => owners.get(id)),
  history,
  crash,
)
const queue = withCrash(await openQueue(settings.queue), crash)
const complain = (message: string, error: unknown): void => console.error(Math.round(performance.now()), message, error)
await queue.ensureTopology([QUEUE])
const renewMs = leaseMs / 3
/** Of the lease: a loop that stands still for longer loses its tasks. */
const HUNG_AFTER_MS = 0.75 * leaseMs
const worker = new Worker({
  name: `${name}-${process.pid}`,
  store,
  queue,
  keeper: await openLeaseKeeper({
    // Another thread would not meet what a broken build does to its store.
    url: build === undefined ? settings.tasks : undefined,
    store,
    worker: `${name}-${process.pid}`,
    times: { leaseMs, renewMs },
    hungAfterMs: HUNG_AFTER_MS,
    clock,
    onError: (error) => complain('Leases', error),
    onDied: (error) => complain('The thread of leases', error),
  }),
  clock,
  run,
  onChanged: () => undefined,
  onError: complain,
  tools: ['work'],
  queues: [QUEUE],
  handlerRevisions: [],
  concurrency: settings.concurrency,
  leaseMs,
  pollMs: 500,
})
const bytes = (value: unknown): Buffer => Buffer.from(JSON.stringify(value))
new Sweeper({
  store,
  queue,
  clock,
  everyMs: 500,
  renewMs,
  sweep: {
    crashBackoffMs: 200,
    overdueMs: 2000,
    expiredAnswer: bytes(null),
    expiredError: bytes({ code: 'expired' }),
    lostError: bytes({ code: 'lost' }),
  },
  onChanged: () => undefined,
  onError: complain,
}).start()
await worker.start()
process.on('SIGTERM', () => void worker.drain(0).then(() => process.exit(0)))

async function run({ task, signal, recordStep }: Attempt): Promise<AttemptOutcome> {
  owners.set(task.id, task.owner)
  const known = new Map(task.journal.map((entry) => [entry.name, entry.value]))
  const plan = JSON.parse(Buffer.from(task.args).toString()) as Action[]
  const step = async (stepName: string, body: () => Promise<unknown>): Promise<unknown> => {
    const before = known.get(stepName)
    if (before !== undefined) return JSON.parse(Buffer.from(before).toString()) as unknown
    const value = await body()
    // `exists`: a try whose answer was lost has put it on record.
    if ((await recordStep(stepName, bytes(value))) === 'lost') throw new Error(`${stepName} was not recorded`)
    return value
  }
  try {
    const context = {
      task: task.id,
      fence: task.fence,
      attempt: task.attempts,
      signal,
      step,
      async ask(question: string) {
        const answer = known.get(question)
        if (answer === undefined)
          throw new Parked({ kind: 'asked', asks: [{ name: question, request: bytes(question) }] })
        return JSON.parse(Buffer.from(answer).toString()) as unknown
      },
      async sleep(sleepName: string, ms: number) {
        if (known.has(sleepName)) return
        await step(sleepName, async () => ms)
        throw new Parked({ kind: 'sleeping', wakeAfterMs: ms })
      },
    }
    return { kind: 'completed', result: bytes(await runPlan(plan, context, history)) }
  } catch (error) {
    if (error instanceof Parked) return error.outcome
    if (signal.aborted)
      return (signal.reason as { code?: string }).code === 'task_cancelled'
        ? { kind: 'cancelled' }
        : { kind: 'released' }
    if (error instanceof Transient && task.attempts < 5) return { kind: 'retry', runAfterMs: 100 }
    return { kind: 'failed', error: bytes({ code: 'failed', message: (error as Error).message }) }
  }
}

class Parked extends Error {
  readonly outcome: AttemptOutcome
  constructor(outcome: AttemptOutcome) {
    super('parked')
    this.outcome = outcome
  }
}

/** Says so where the machine, and not the nemesis, held this process up. */
function watchLoop(): void {
  const EVERY_MS = 100
  let lastMs = performance.now()
  setInterval(() => {
    const lateMs = performance.now() - lastMs - EVERY_MS
    lastMs = performance.now()
    if (lateMs > leaseMs / 4 && !isBlocked) history.note('stall', { value: Math.round(lateMs) })
    isBlocked = false
  }, EVERY_MS)
}

function openStore(url: string): Promise<TaskStore> {
  if (url.startsWith('sqlite:')) return openSqlite(url)
  return url.startsWith('postgres:') ? openPostgres(url) : openDynamodbTasks(url, clock)
}
async function openQueue(url: string): Promise<TaskQueue> {
  const events = { onUp() {}, onDown() {}, onRefused() {} }
  if (url.startsWith('amqp:')) return openRabbitmqQueue(url, events)
  if (url.startsWith('kafka:')) return openKafkaQueue(url, events)
  return url.startsWith('sqs:') ? openSqsQueue(url, events) : new MemoryTaskQueue(() => undefined)
}
