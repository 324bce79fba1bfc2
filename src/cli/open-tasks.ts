import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { isSqliteUrl, parseSqliteUrl } from '../backends/sqlite/url.ts'
import { resolveOptions, type RuntimeOptions } from '../compose/options.ts'
import { openTaskStore, shownTasksUrl, tasksUrlOf } from '../compose/task-store.ts'
import { HoldfastError } from '../errors/holdfast-error.ts'
import { systemClock } from '../ports/clock.ts'
import type { TaskAdmin, TaskStore } from '../ports/task-store.ts'
import { loadDefinition } from './load-definition.ts'
import type { StoreFlags } from './task-commands.ts'

/** A task store that a command works with. */
export interface OpenedTasks extends AsyncDisposable {
  readonly store: TaskStore & TaskAdmin
  /** Its URL, without secrets. */
  readonly shown: string
}

/**
 * Opens the task store that flags, variables or a definition name.
 * @param how.forMigration opens it whatever its schema is like
 * @param how.makesFile a file of SQLite that is not there is made; else that is an error: who looks at tasks would see none
 * @throws {HoldfastError} `invalid_option` where it can't be told or opened, with what to do.
 */
export async function openTasks(
  flags: StoreFlags,
  how: { forMigration?: boolean; makesFile?: boolean } = {},
): Promise<OpenedTasks> {
  const code: RuntimeOptions = flags.definition === undefined ? {} : (await loadDefinition(flags.definition)).options
  const { tasks, dataDir } = resolveOptions(code, process.env, flags.tasks === undefined ? {} : { tasks: flags.tasks })
  if (typeof tasks !== 'string')
    throw new HoldfastError(
      'invalid_option',
      `${flags.definition} has a task store of its own: name one that commands can reach, with --tasks.`,
    )
  const url = tasksUrlOf(tasks, dataDir)
  if (isSqliteUrl(url) && how.makesFile !== true) {
    const { file } = parseSqliteUrl(url)
    if (file === ':memory:' || !existsSync(file))
      throw new HoldfastError(
        'invalid_option',
        `There is no file ${file === ':memory:' ? `for ${url}` : resolve(file)}: name the store of the tasks with --tasks, HOLDFAST_TASKS_URL or HOLDFAST_DATA_DIR.`,
      )
  }
  const store = await openTaskStore(url, systemClock, { forMigration: how.forMigration ?? false })
  return { store, shown: shownTasksUrl(url), [Symbol.asyncDispose]: () => store.close() }
}
