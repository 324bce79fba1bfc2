import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeEach, describe, test } from 'vitest'
import { openSqlite } from '../../src/backends/sqlite/task-store.ts'
import { taskStoreFaultContract } from '../../src/testing/contracts/task-store-faults.ts'
import { taskStoreContract } from '../../src/testing/contracts/task-store.ts'

const dir = mkdtempSync(join(tmpdir(), 'holdfast-sqlite-'))
afterAll(() => rmSync(dir, { recursive: true }))

const runner = { describe, test, beforeEach, afterEach }
const pass = (ms: number): Promise<void> => sleep(ms)
taskStoreContract(runner, 'sqlite', async () => ({ store: await openSqlite(`sqlite:${dir}/tasks.db`), pass }))
taskStoreContract(runner, 'sqlite in memory', async () => ({ store: await openSqlite('sqlite::memory:'), pass }))
taskStoreFaultContract(runner, 'sqlite', async () => ({ store: await openSqlite(`sqlite:${dir}/tasks.db`), pass }))
