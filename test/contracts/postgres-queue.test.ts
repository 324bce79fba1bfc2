import { afterAll, afterEach, beforeEach, describe, test, vi } from 'vitest'
import { openPostgresQueue } from '../../src/backends/postgres/task-queue.ts'
import { taskQueueContract } from '../../src/testing/contracts/task-queue.ts'
import { given } from '../servers/catalog.ts'
import { startPostgres } from '../servers/postgres.ts'
import { needs } from '../servers/shared.ts'
import { anything } from './queues.ts'

vi.setConfig({ testTimeout: 60_000 }) // the server is stopped and started
if (given('postgres') === undefined) await needs('postgres')
const own = given('postgres') === undefined ? await startPostgres() : undefined
const url = own?.url ?? given('postgres')!.url
afterAll(() => own?.[Symbol.asyncDispose]())

const maxDeliveries = 3
const open = () => openPostgresQueue(url, anything, { maxDeliveries })

taskQueueContract(
  { describe, test, beforeEach, afterEach },
  'Postgres',
  async () => ({ here: await open(), there: await open(), maxDeliveries }),
  {
    isFleeting: true,
    ...(own && { outage: { stop: () => own.kill(), start: () => own.start() } }),
    quietMs: 8000, // more than the connection is left alone
  },
)
