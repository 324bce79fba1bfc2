/*
 * The thread that has the database, since SQLite waits synchronously: for the disk, and for other processes.
 *
 * 1. Requests that have come by the time the database is free share one transaction: one wait for the disk.
 * 2. Each of them is carried out whole or not at all, whatever becomes of the others.
 * 3. Replies go out after the commit.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { HoldfastError } from '../../errors/holdfast-error.ts'
import { Database, migrate } from './database.ts'
import { MIGRATIONS } from './migrations.ts'
import * as operations from './operations.ts'
import { READS, type Reply, type Request, type ThreadData } from './protocol.ts'
import * as upkeep from './upkeep.ts'

/** Bounds how long others wait for the database. */
const MOST_IN_TRANSACTION = 500

const port = parentPort!
const all = { ...operations, ...upkeep } as unknown as Record<
  string,
  (at: operations.At, ...args: unknown[]) => unknown
>
const reads = new Set<string>(READS)
const waiting: Request[] = []
let isScheduled = false
let db: Database | undefined

function carryOut({ id, name, args }: Request, now: number): Reply {
  try {
    const at = { db: db!, now }
    return { id, value: reads.has(name) ? all[name]!(at, ...args) : db!.atomically(() => all[name]!(at, ...args)) }
  } catch (error) {
    return toFailure(id, error)
  }
}

function toFailure(id: number, error: unknown): Reply {
  const { message, errcode } = error as Error & { errcode?: number }
  const code = error instanceof HoldfastError ? error.code : `SQLITE_${errcode ?? 'ERROR'}`
  return { id, error: { message, code } }
}

function together(batch: readonly Request[]): Reply[] {
  const now = Date.now()
  if (batch.every(({ name }) => reads.has(name))) return batch.map((request) => carryOut(request, now))
  try {
    return db!.transaction(() => batch.map((request) => carryOut(request, Date.now())))
  } catch (error) {
    // A lock, or a full disk, keeps nobody from reading.
    return batch.map((request) => (reads.has(request.name) ? carryOut(request, now) : toFailure(request.id, error)))
  }
}

function alone({ id, name, args }: Request): Reply {
  try {
    if (name === 'migrate') return { id, value: migrate(db!, MIGRATIONS, args[0] as { check?: boolean }) }
    db!.close()
    return { id, value: undefined }
  } catch (error) {
    return toFailure(id, error)
  }
}

function flush(): void {
  isScheduled = false
  const end = waiting.findIndex(({ name }) => name === 'close' || name === 'migrate')
  if (end === 0) {
    const request = waiting.shift()!
    port.postMessage([alone(request)])
    if (request.name === 'close') port.close()
  } else {
    const count = Math.min(end === -1 ? waiting.length : end, MOST_IN_TRANSACTION)
    port.postMessage(together(waiting.splice(0, count)))
  }
  schedule()
}

/** After this turn of the event loop, in which more may come. */
function schedule(): void {
  if (isScheduled || waiting.length === 0) return
  isScheduled = true
  setImmediate(flush)
}

try {
  const { address, forMigration } = workerData as ThreadData
  db = new Database(address)
  if (!forMigration) migrate(db, MIGRATIONS)
  port.on('message', (request: Request) => {
    waiting.push(request)
    schedule()
  })
  port.postMessage([{ id: 0, value: undefined } satisfies Reply])
} catch (error) {
  port.postMessage([toFailure(0, error)])
  port.close()
}
