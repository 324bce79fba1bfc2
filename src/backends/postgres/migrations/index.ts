import { tasks } from './0001-tasks.ts'
import type { Migration } from './migration.ts'

/** All of them, in order. */
export const MIGRATIONS: readonly Migration[] = [tasks]
