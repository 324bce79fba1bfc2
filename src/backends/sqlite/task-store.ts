import { Worker } from 'node:worker_threads'
import { HoldfastError } from '../../errors/holdfast-error.ts'
import type {
  ClaimRequest,
  NewTask,
  ParkUntil,
  StepRecord,
  SweepOptions,
  TaskAdmin,
  TaskEnd,
  TaskFilter,
  TaskStore,
} from '../../ports/task-store.ts'
import type { ArgumentsOf, OperationName, Reply, Request, ResultOf, ThreadData } from './protocol.ts'
import { parseSqliteUrl } from './url.ts'

interface Call {
  readonly name: string
  readonly resolve: (value: unknown) => void
  readonly reject: (error: Error) => void
}

/** By SQLite's primary result codes. */
const REMEDIES: Readonly<Record<number, string>> = {
  5: 'Another process has kept the file locked for longer than busyTimeoutMs.',
  8: 'The file, or its folder, may not be written.',
  10: 'The disk does not read or write as it should.',
  11: 'The file is damaged: restore it from a backup.',
  13: 'Its disk is full.',
}
/** What to do about an error, where that is known. Extended codes carry the primary one in their lowest byte. */
const remedyFor = (code: string): string => {
  const remedy = REMEDIES[Number(/^SQLITE_(\d+)$/.exec(code)?.[1]) & 0xff]
  return remedy === undefined ? '' : ` ${remedy}`
}

/** Beside this file; once built, in a folder beside that of the chunks. */
const THREAD = new URL(import.meta.url.endsWith('.ts') ? './thread.ts' : '../threads/sqlite.js', import.meta.url)

const OURS = ['invalid_option', 'invalid_ask', 'backend_mismatch', 'backend_failed'] as const

/**
 * Opens the task store of a SQLite URL; a file that does not exist is made, and its schema brought to this version.
 *
 * @param options.forMigration leaves the schema as it is, in order to look at it, or to migrate. Default false
 * @throws {HoldfastError} `invalid_option` for a malformed URL; `backend_mismatch` for a file of newer code; `backend_failed` where
 * the file can't be used.
 */
export async function openSqlite(
  url: string,
  { forMigration = false }: { forMigration?: boolean } = {},
): Promise<SqliteTaskStore> {
  const store = new SqliteTaskStore({ address: parseSqliteUrl(url), forMigration })
  await store.opened
  return store
}

/**
 * Tasks in a SQLite file, on a thread of its own. Several processes of one machine may use a file at once (on a local disk:
 * network file systems lock badly). What has been replied to is on the disk.
 */
export class SqliteTaskStore implements TaskStore, TaskAdmin {
  readonly #worker: Worker
  readonly #calls = new Map<number, Call>()
  readonly #exited: Promise<void>
  #nextId = 0
  #failure: Error | undefined
  #closing: Promise<void> | undefined
  /** Rejects where the file can't be opened. */
  readonly opened: Promise<void>

  constructor(data: ThreadData) {
    this.#worker = new Worker(THREAD, { workerData: data, name: 'holdfast-sqlite' })
    this.#worker.on('message', (replies: readonly Reply[]) => replies.forEach(this.#settle))
    this.#worker.on('error', (error: Error) => this.#fail(error))
    this.#exited = new Promise((resolve) => {
      this.#worker.once('exit', (code) => {
        this.#fail(new Error(`The thread of the database has ended (${code}).`))
        resolve()
      })
    })
    this.opened = this.#expect('open').then(() => undefined)
  }

  create(task: NewTask): Promise<ResultOf<'create'>> {
    return this.#call('create', task)
  }
  get(id: string, owner: string): Promise<ResultOf<'get'>> {
    return this.#call('get', id, owner)
  }
  versions(ids: readonly string[]): Promise<ResultOf<'versions'>> {
    return this.#call('versions', ids)
  }
  claim(request: ClaimRequest): Promise<ResultOf<'claim'>> {
    return this.#call('claim', request)
  }
  heartbeat(
    _worker: string,
    leases: readonly { id: string; fence: number; statusMessage?: string | undefined }[],
    leaseMs: number,
  ): Promise<ResultOf<'heartbeat'>> {
    return this.#call('heartbeat', leases, leaseMs)
  }
  recordStep(step: StepRecord): Promise<ResultOf<'recordStep'>> {
    return this.#call('recordStep', step)
  }
  park(id: string, fence: number, until: ParkUntil): Promise<ResultOf<'park'>> {
    return this.#call('park', id, fence, until)
  }
  answer(
    id: string,
    owner: string,
    answers: readonly { name: string; value: Uint8Array }[],
  ): Promise<ResultOf<'answer'>> {
    return this.#call('answer', id, owner, answers)
  }
  finish(ends: readonly TaskEnd[]): Promise<ResultOf<'finish'>> {
    return this.#call('finish', ends)
  }
  retry(id: string, fence: number, runAfterMs: number, statusMessage?: string): Promise<ResultOf<'retry'>> {
    return this.#call('retry', id, fence, runAfterMs, statusMessage)
  }
  release(leases: readonly { id: string; fence: number }[]): Promise<ResultOf<'release'>> {
    return this.#call('release', leases)
  }
  cancel(id: string, owner: string): Promise<ResultOf<'cancel'>> {
    return this.#call('cancel', id, owner)
  }
  attend(ids: readonly string[], ttlMs: number): Promise<ResultOf<'attend'>> {
    return this.#call('attend', ids, ttlMs)
  }
  isOver(queue: string, bound: number): Promise<ResultOf<'isOver'>> {
    return this.#call('isOver', queue, bound)
  }
  sweep(options: SweepOptions): Promise<ResultOf<'sweep'>> {
    return this.#call('sweep', options)
  }
  migrate(options: { check?: boolean } = {}): Promise<ResultOf<'migrate'>> {
    return this.#call('migrate', options)
  }
  list(filter: TaskFilter): Promise<ResultOf<'list'>> {
    return this.#call('list', filter)
  }
  find(id: string): Promise<ResultOf<'find'>> {
    return this.#call('find', id)
  }
  backlog(queues: readonly string[]): Promise<ResultOf<'backlog'>> {
    return this.#call('backlog', queues)
  }
  namedArtifacts(ids: readonly string[]): Promise<ResultOf<'namedArtifacts'>> {
    return this.#call('namedArtifacts', ids)
  }
  redrive(id: string, newId: string): Promise<ResultOf<'redrive'>> {
    return this.#call('redrive', id, newId)
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#close())
  }

  async #close(): Promise<void> {
    try {
      if (this.#failure === undefined) {
        const id = this.#nextId
        const closed = this.#expect('close')
        this.#worker.postMessage({ id, name: 'close', args: [] } satisfies Request, [])
        await closed
      }
    } finally {
      await this.#exited
    }
  }

  async #call<Name extends OperationName>(name: Name, ...args: ArgumentsOf<Name>): Promise<ResultOf<Name>> {
    if (this.#closing !== undefined) throw new HoldfastError('closed', 'The task store was used after close().')
    if (this.#failure !== undefined) throw this.#failure
    const id = this.#nextId
    const reply = this.#expect(name)
    this.#worker.postMessage({ id, name, args: args.map(tighten) } satisfies Request, [])
    return (await reply) as ResultOf<Name>
  }

  #expect(name: string): Promise<unknown> {
    return new Promise((resolve, reject) => this.#calls.set(this.#nextId++, { name, resolve, reject }))
  }

  readonly #settle = (reply: Reply): void => {
    const { name, resolve, reject } = this.#calls.get(reply.id)!
    this.#calls.delete(reply.id)
    if (!('error' in reply)) return resolve(reply.value)
    const { code, message } = reply.error
    const ours = OURS.find((one) => one === code)
    reject(
      ours === undefined
        ? new HoldfastError('backend_failed', `SQLite did not carry out ${name}.${remedyFor(code)}`, {
            cause: new Error(`${code}: ${message}`),
          })
        : new HoldfastError(ours, message),
    )
  }

  #fail(cause: Error): void {
    this.#failure ??= new HoldfastError('backend_failed', 'The thread of the database has ended.', { cause })
    for (const { reject } of this.#calls.values()) reject(this.#failure)
    this.#calls.clear()
  }
}

/** Views on bigger buffers become copies of what they show: a message would carry the whole buffer. */
function tighten(value: unknown): unknown {
  if (value instanceof Uint8Array) return value.byteLength === value.buffer.byteLength ? value : new Uint8Array(value)
  if (Array.isArray(value)) return value.map(tighten)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, tighten(one)]))
}
