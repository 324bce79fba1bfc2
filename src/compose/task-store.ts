import { isDynamodbUrl } from '../backends/dynamodb/url.ts'
import { isPostgresUrl } from '../backends/postgres/url.ts'
import { isSqliteUrl } from '../backends/sqlite/url.ts'
import { HoldfastError } from '../errors/holdfast-error.ts'
import type { Clock } from '../ports/clock.ts'
import type { TaskAdmin, TaskStore } from '../ports/task-store.ts'
import { schemeOf } from './backends.ts'

/**
 * Opens the task store that a URL names. Clients are loaded only now: who needs none does not pay for it at start.
 * @throws {HoldfastError} `invalid_option` for a URL that can't be used, and what the backend throws where it can't be opened.
 */
export async function openTaskStore(url: string, clock: Clock): Promise<TaskStore & TaskAdmin> {
  if (isSqliteUrl(url)) return (await import('../backends/sqlite/task-store.ts')).openSqlite(url)
  if (isPostgresUrl(url)) return (await import('../backends/postgres/open.ts')).openPostgres(url)
  if (isDynamodbUrl(url)) return (await import('../backends/dynamodb/task-store.ts')).openDynamodbTasks(url, clock)
  throw new HoldfastError(
    'invalid_option',
    `The tasks URL has the scheme ${JSON.stringify(schemeOf(url))}; there are sqlite:, postgres:// and dynamodb://.`,
  )
}

/** Whether a second connection to the URL meets the same tasks. */
export const isSharedTaskUrl = (url: string): boolean => !/^sqlite::memory:(\?|$)/.test(url)
