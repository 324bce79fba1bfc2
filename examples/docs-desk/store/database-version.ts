import type { DatabaseSync } from 'node:sqlite'

/** Changes with every commit of another connection (`data_version`) and with every change of this one. */
export function databaseVersion(database: DatabaseSync): string {
  const others = database.prepare('PRAGMA data_version').get()?.['data_version']
  const own = database.prepare('SELECT total_changes() AS changes').get()?.['changes']
  return `${String(others)}/${String(own)}`
}
