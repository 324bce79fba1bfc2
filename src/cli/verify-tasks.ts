import { randomBytes } from 'node:crypto'
import { resolve } from 'node:path'
import type { QueueEvents } from '../backends/broker/events.ts'
import { THROWAWAY_DELIVERIES, type ThrowawayQueues } from '../backends/broker/throwaway.ts'
import { isDynamodbUrl, parseDynamodbUrl } from '../backends/dynamodb/url.ts'
import { isKafkaUrl, parseKafkaUrl } from '../backends/kafka/url.ts'
import { isPostgresUrl, parsePostgresUrl } from '../backends/postgres/url.ts'
import { isRabbitmqUrl, parseRabbitmqUrl } from '../backends/rabbitmq/url.ts'
import { isSqliteUrl, parseSqliteUrl } from '../backends/sqlite/url.ts'
import { isSqsUrl, parseSqsUrl } from '../backends/sqs/url.ts'
import { systemClock } from '../ports/clock.ts'
import {
  taskQueueContract,
  taskStoreContract,
  taskStoreFaultContract,
  type TaskQueueOptions,
  type TaskStoreFixture,
  type TestRunner,
} from '../testing/index.ts'
import { makeThrowawayFolder } from './throwaway-folder.ts'

/** Suites that are to run against a server, in a namespace of their own; disposing of them removes it. */
export interface Verification extends AsyncDisposable {
  declare(runner: TestRunner): void
}

const NOBODY: QueueEvents = { onUp() {}, onDown() {}, onRefused() {} }
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
/** For a message to come; below the time of a test. */
const PATIENCE_MS = 40_000

/**
 * What there is to run for a task store or a task queue; `undefined` where the URL names neither.
 * @throws {HoldfastError} `invalid_option` for a URL that can't be used, `backend_failed` where nothing answers.
 */
export async function verificationOf(url: string): Promise<Verification | undefined> {
  if (isSqliteUrl(url)) return ofSqlite(url)
  if (isPostgresUrl(url)) return ofPostgres(url)
  if (isDynamodbUrl(url)) return ofDynamodb(url)
  if (isRabbitmqUrl(url)) {
    const { rabbitmqThrowaway } = await import('../backends/rabbitmq/throwaway.ts')
    return ofQueue(parseRabbitmqUrl(url).shown, rabbitmqThrowaway(url, NOBODY), {})
  }
  if (isKafkaUrl(url)) {
    const { kafkaThrowaway } = await import('../backends/kafka/throwaway.ts')
    return ofQueue(parseKafkaUrl(url).shown, kafkaThrowaway(url, NOBODY), { quietMs: 8000 })
  }
  if (isSqsUrl(url)) {
    const { sqsThrowaway } = await import('../backends/sqs/throwaway.ts')
    return ofQueue(parseSqsUrl(url).shown, sqsThrowaway(url, NOBODY), { quietMs: 6000 })
  }
  return undefined
}

const stores = (runner: TestRunner, shown: string, create: () => Promise<TaskStoreFixture>): void => {
  taskStoreContract(runner, shown, create)
  taskStoreFaultContract(runner, shown, create)
}

/** A file in a folder of its own beside the one named: it is the disk that is asked. */
async function ofSqlite(url: string): Promise<Verification> {
  const { file } = parseSqliteUrl(url)
  const { openSqlite } = await import('../backends/sqlite/task-store.ts')
  const declareAt =
    (at: string): Verification['declare'] =>
    (runner) =>
      stores(runner, url, async () => ({ store: await openSqlite(at), pass: sleep }))
  if (file === ':memory:') return { declare: declareAt(url), async [Symbol.asyncDispose]() {} }
  const own = makeThrowawayFolder(`${resolve(file)}-verify-${randomBytes(4).toString('hex')}`)
  const path = `${own.path}/tasks.db`.split('/').map(encodeURIComponent).join('/')
  return {
    declare: declareAt(url.replace(/^sqlite:[^?]*/, `sqlite:${path}`)),
    [Symbol.asyncDispose]: async () => own[Symbol.dispose](),
  }
}

/** A schema of its own; and the bell, which shows whether notifications come through. */
async function ofPostgres(url: string): Promise<Verification> {
  const { shown } = parsePostgresUrl(url)
  const { openThrowaway } = await import('../backends/postgres/open.ts')
  const { openPostgresQueue } = await import('../backends/postgres/task-queue.ts')
  const schema = await openThrowaway(url, `holdfast_verify_${randomBytes(4).toString('hex')}`)
  const maxDeliveries = THROWAWAY_DELIVERIES
  const bell = () => openPostgresQueue(schema.url, NOBODY, { maxDeliveries })
  return {
    declare(runner) {
      stores(runner, shown, async () => ({ store: await schema.open(), pass: sleep }))
      taskQueueContract(runner, shown, async () => ({ here: await bell(), there: await bell(), maxDeliveries }), {
        isFleeting: true,
        patienceMs: PATIENCE_MS,
      })
    },
    [Symbol.asyncDispose]: () => schema[Symbol.asyncDispose](),
  }
}

/** A table of its own. A lease has run out for who has seen it stand still, so a look comes before each wait. */
async function ofDynamodb(url: string): Promise<Verification> {
  const { shown } = parseDynamodbUrl(url)
  const { openThrowawayTable } = await import('../backends/dynamodb/throwaway.ts')
  const table = await openThrowawayTable(url, systemClock)
  const create = async (): Promise<TaskStoreFixture> => {
    const store = await table.open()
    return {
      store,
      async pass(ms) {
        await store.observe()
        await sleep(ms)
      },
    }
  }
  return {
    declare: (runner) => stores(runner, shown, create),
    [Symbol.asyncDispose]: () => table[Symbol.asyncDispose](),
  }
}

async function ofQueue(shown: string, queues: ThrowawayQueues, options: TaskQueueOptions): Promise<Verification> {
  // Whether there is anything to test.
  const probe = await queues.open()
  try {
    await probe.ensureTopology(['probe'])
  } finally {
    await probe.close()
  }
  return {
    declare: (runner) =>
      taskQueueContract(
        runner,
        shown,
        async () => ({ here: await queues.open(), there: await queues.open(), maxDeliveries: THROWAWAY_DELIVERIES }),
        { ...options, patienceMs: PATIENCE_MS },
      ),
    [Symbol.asyncDispose]: () => queues[Symbol.asyncDispose](),
  }
}
