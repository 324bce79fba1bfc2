import { join } from 'node:path'
import { isDynamodbUrl } from '../backends/dynamodb/url.ts'
import { isPostgresUrl, parsePostgresUrl } from '../backends/postgres/url.ts'
import { isSqliteUrl } from '../backends/sqlite/url.ts'
import { HoldfastError } from '../errors/holdfast-error.ts'
import type { Clock } from '../ports/clock.ts'
import type { TaskAdmin, TaskStore } from '../ports/task-store.ts'
import { schemeOf } from './backends.ts'

/** Whether a URL names a task store. */
export const isTasksUrl = (url: string): boolean => isSqliteUrl(url) || isPostgresUrl(url) || isDynamodbUrl(url)

/**
 * Checks the scheme of a tasks URL. The rest is read when the store is opened: a server without tasks opens none.
 * @throws {HoldfastError} `invalid_option` that names the scheme.
 */
export function checkTasksUrl(url: string, name: string): void {
  if (!isTasksUrl(url))
    throw new HoldfastError(
      'invalid_option',
      `${name} has the scheme ${JSON.stringify(schemeOf(url))}; there are sqlite:, postgres:// and dynamodb://.`,
    )
}

/**
 * Opens the task store that a URL names. Clients are loaded only now: who needs none does not pay for it at start. A file of
 * SQLite brings its schema up to date by itself; Postgres and DynamoDB are changed by `holdfast migrate` alone, so that nodes need
 * no rights to change them.
 *
 * @param options.forMigration opens it whatever its schema is like. Default false
 * @throws {HoldfastError} `invalid_option` for a URL that can't be used; `backend_mismatch` for a schema that is not the one
 * needed, with what to do; `backend_failed` where it can't be reached: what can't look whether the schema is the right one does not
 * start, and whoever started it (Kubernetes, systemd, Compose) starts it again.
 */
export async function openTaskStore(
  url: string,
  clock: Clock,
  { forMigration = false }: { forMigration?: boolean } = {},
): Promise<TaskStore & TaskAdmin> {
  checkTasksUrl(url, 'The tasks URL')
  try {
    return await open(url, clock, forMigration)
  } catch (error) {
    if (!(error instanceof HoldfastError) || error.code !== 'backend_failed') throw error
    const why = reasonOf(error.cause) ?? error.message
    throw new HoldfastError(
      'backend_failed',
      `The tasks URL ${shownTasksUrl(url)} can't be reached: ${why}. Start this again when it can.`,
      { cause: error.cause ?? error },
    )
  }
}

async function open(url: string, clock: Clock, forMigration: boolean): Promise<TaskStore & TaskAdmin> {
  if (isSqliteUrl(url)) return (await import('../backends/sqlite/task-store.ts')).openSqlite(url, { forMigration })
  if (isPostgresUrl(url)) return (await import('../backends/postgres/open.ts')).openPostgres(url, { forMigration })
  const { openDynamodbTasks } = await import('../backends/dynamodb/task-store.ts')
  const store = await openDynamodbTasks(url, clock)
  if (forMigration) return store
  try {
    const { pending } = await store.migrate({ check: true })
    if (pending.length === 0) return store
    throw new HoldfastError(
      'backend_mismatch',
      `What ${url} names is not there, or lacks ${pending.join(', ')}: run \`holdfast migrate\`.`,
    )
  } catch (error) {
    await store.close()
    throw error
  }
}

/** What a driver's error says; of an attempt at several addresses, the first's. */
function reasonOf(cause: unknown): string | undefined {
  if (!(cause instanceof Error)) return undefined
  const { message, errors } = cause as Error & { errors?: unknown[] }
  return message === '' ? reasonOf(errors?.[0]) : message.replace(/\.$/, '')
}

/** A tasks URL without its secrets, for people. */
export const shownTasksUrl = (url: string): string => (isPostgresUrl(url) ? parsePostgresUrl(url).shown : url)

/** Where tasks lie, as options say: the embedded default is in the data folder, or in memory where there is none. */
export function tasksUrlOf(tasks: string, dataDir: string | false): string {
  if (tasks !== '') return tasks
  return dataDir === false ? 'sqlite::memory:' : `sqlite:${join(dataDir, 'tasks.db')}`
}

/** Whether a second connection to the URL meets the same tasks. */
export const isSharedTaskUrl = (url: string): boolean => !/^sqlite::memory:(\?|$)/.test(url)
