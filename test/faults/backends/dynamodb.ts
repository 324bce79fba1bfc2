import { openDynamodbTasks } from '../../../src/backends/dynamodb/task-store.ts'
import { systemClock } from '../../../src/ports/clock.ts'
import { useLocalCredentials } from '../../chaos/backends/backend.ts'
import { startDynamodb } from '../../servers/dynamodb.ts'
import type { Backend } from '../backend.ts'
import { TASK_STORE_CELLS } from './task-store.ts'

/** A task store. */
export const dynamodb: Backend = {
  label: 'DynamoDB',
  async start(toxiproxy, stack) {
    useLocalCredentials()
    const server = stack.use(await startDynamodb())
    const link = await toxiproxy.proxy('dynamodb', server)
    const url = (port: number): string =>
      `dynamodb://faults?region=us-east-1&connectTimeoutMs=1000&commandTimeoutMs=2500&endpoint=${encodeURIComponent(`http://127.0.0.1:${port}`)}`
    const store = await openDynamodbTasks(url(server.port), systemClock)
    await store.migrate()
    await store.close()
    return { links: [link], options: { tasks: url(link.port) } }
  },
  // DynamoDB Local takes some 300 requests a second.
  pace: 3,
  // A question of admission and a write, each with its time.
  boundMs: 6000,
  slowMs: 12_000,
  recoverMs: 4000,
  // What goes out together has a connection each: AWS' client has 50 at most, in each node.
  attemptsPerSecond: 100,
  cells: TASK_STORE_CELLS,
}
