import { randomBytes } from 'node:crypto'
import type { Clock } from '../../ports/clock.ts'
import { openTable } from './table.ts'
import { openDynamodbTasks, type DynamodbTaskStore } from './task-store.ts'
import { parseDynamodbUrl } from './url.ts'

/** A table that is there for a while. */
export interface ThrowawayTable extends AsyncDisposable {
  readonly url: string
  open(): Promise<DynamodbTaskStore>
}

/**
 * Makes a table of its own beside the one of a URL, for `verify-backend`; disposing of it deletes it.
 * @throws {HoldfastError} as opening the store does, and where a table can't be made.
 */
export async function openThrowawayTable(url: string, clock: Clock): Promise<ThrowawayTable> {
  const name = `${parseDynamodbUrl(url).table}-verify-${randomBytes(4).toString('hex')}`
  const own = url.replace(/^dynamodb:\/\/[^/?]*/, `dynamodb://${name}`)
  const store = await openDynamodbTasks(own, clock)
  try {
    await store.migrate()
  } finally {
    await store.close()
  }
  return {
    url: own,
    open: () => openDynamodbTasks(own, clock),
    async [Symbol.asyncDispose]() {
      const table = await openTable(own)
      const { DeleteTableCommand } = table.library
      try {
        await table.administer((client, bound) => client.send(new DeleteTableCommand({ TableName: name }), bound))
      } finally {
        table.close()
      }
    },
  }
}
