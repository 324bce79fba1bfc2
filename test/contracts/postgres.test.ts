import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeEach, describe, test } from 'vitest'
import { openThrowaway } from '../../src/backends/postgres/open.ts'
import { taskStoreFaultContract } from '../../src/testing/contracts/task-store-faults.ts'
import { taskStoreContract } from '../../src/testing/contracts/task-store.ts'
import { sharedServer } from '../servers/shared.ts'

const { url } = await sharedServer('postgres')
const schema = await openThrowaway(url, `contract_${process.pid}`)
afterAll(() => schema[Symbol.asyncDispose]())

const runner = { describe, test, beforeEach, afterEach }
taskStoreContract(runner, 'postgres', async () => ({ store: await schema.open(), pass: (ms) => sleep(ms) }))
taskStoreFaultContract(runner, 'postgres', async () => ({ store: await schema.open(), pass: (ms) => sleep(ms) }))
