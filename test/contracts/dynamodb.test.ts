import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeEach, describe, test, vi } from 'vitest'
import { openDynamodbTasks } from '../../src/backends/dynamodb/task-store.ts'
import { systemClock } from '../../src/ports/clock.ts'
import { taskStoreFaultContract } from '../../src/testing/contracts/task-store-faults.ts'
import { taskStoreContract } from '../../src/testing/contracts/task-store.ts'
import { startDynamodb } from '../servers/dynamodb.ts'
import { needs } from '../servers/shared.ts'

vi.stubEnv('AWS_ACCESS_KEY_ID', 'test')
vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'test')
await needs('dynamodb')
const server = await startDynamodb()
afterAll(() => server[Symbol.asyncDispose]())

async function create() {
  const url = server.url.replace('dynamodb://', `dynamodb://t${randomUUID()}`)
  const store = await openDynamodbTasks(url, systemClock)
  await store.migrate()
  return {
    store,
    async pass(ms: number): Promise<void> {
      // A lease has run out for who has seen it stand still.
      await store.observe()
      await new Promise((resolve) => setTimeout(resolve, ms))
    },
  }
}
const runner = { describe, test, beforeEach, afterEach }
taskStoreContract(runner, 'DynamoDB', create)
taskStoreFaultContract(runner, 'DynamoDB', create)
