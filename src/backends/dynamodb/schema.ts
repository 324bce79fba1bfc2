import type { CreateTableCommandInput, KeySchemaElement, TableDescription } from '@aws-sdk/client-dynamodb'
import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { HoldfastError } from '../../errors/holdfast-error.ts'
import type { DynamodbTable } from './table.ts'

/**
 * One table. `pk`, `sk` of its items:
 *
 *     t#<id>  t              the task's row
 *     t#<id>  j#<name>       an entry of its journal
 *     t#<id>  b#<blob>#<n>   a part of a value that is too big for an item
 *     i#<hash>  i            an idempotency key: of which task
 *     q  <queue>             a queue that tasks were created in
 *
 * Indexes are sparse, spread over shards, and give hints; the row decides.
 */
export const VERSION = 1
/** An index's partition takes 1,000 writes a second. */
export const SHARDS = 4

/** Number of the shard of a task. */
export const shardOf = (id: string): number => createHash('sha256').update(id).digest()[0]! % SHARDS
export const taskKey = (id: string): string => `t#${id}`
export const ROW = 't'
export const JOURNAL = 'j#'
export const BLOB = 'b#'
export const QUEUES = 'q'
/** Hashed: owner, tool and key have no bound of their own. */
export const idempotencyKey = (owner: string, tool: string, given: string): string =>
  `i#${createHash('sha256')
    .update(JSON.stringify([owner, tool, given]))
    .digest('base64url')}`
export const IDEMPOTENCY = 'i'

/** Keys of the index `work`, by which tasks are found for what is next with them. */
export const workKey = {
  ready: (queue: string, shard: number) => `ready#${shard}#${queue}`,
  leased: (shard: number) => `leased#${shard}`,
  parked: (shard: number) => `parked#${shard}`,
  ended: (shard: number) => `ended#${shard}`,
}
export const expiryKey = (shard: number): string => `expiry#${shard}`
export const createdKey = (shard: number): string => `created#${shard}`
/** Of what competes with an owner's next task: what is ready or leased. */
export const openKey = (owner: string, queue: string): string => JSON.stringify([owner, queue])

/** Of each index: partition and sort key, and what is copied into it beside keys. */
const INDEXES = {
  work: { keys: ['workKey', 'workAt'], include: ['tool', 'handlerRevision', 'queue', 'runAt'] },
  expiry: { keys: ['expiryKey', 'expiryAt'], include: [] },
  created: { keys: ['createdKey', 'createdAt'], include: [] },
  open: { keys: ['openKey', 'openAt'], include: [] },
} as const
const TYPES: Readonly<Record<string, 'S' | 'N'>> = { workAt: 'N', expiryAt: 'N', openAt: 'N' }

const ACTIVE_WITHIN_MS = 60_000

const keySchema = ([hash, range]: readonly [string, string]) => [
  { AttributeName: hash, KeyType: 'HASH' as const },
  { AttributeName: range, KeyType: 'RANGE' as const },
]

/** The table as it must be. */
export function tableInput(table: string): CreateTableCommandInput {
  const names = ['pk', 'sk', ...Object.values(INDEXES).flatMap(({ keys }) => keys)]
  return {
    TableName: table,
    BillingMode: 'PAY_PER_REQUEST',
    AttributeDefinitions: names.map((name) => ({ AttributeName: name, AttributeType: TYPES[name] ?? 'S' })),
    KeySchema: keySchema(['pk', 'sk']),
    GlobalSecondaryIndexes: Object.entries(INDEXES).map(([IndexName, { keys, include }]) => ({
      IndexName,
      KeySchema: keySchema(keys),
      Projection:
        include.length === 0
          ? { ProjectionType: 'KEYS_ONLY' }
          : { ProjectionType: 'INCLUDE', NonKeyAttributes: [...include] },
    })),
  }
}

/**
 * Creates the table, or checks it. Safe to run from two processes at once.
 * @throws {HoldfastError} `backend_mismatch` with what differs.
 */
export async function migrate(
  table: DynamodbTable,
  check: boolean,
): Promise<{ from: number; to: number; pending: readonly string[] }> {
  const pending = ['1: the table and its indexes']
  if ((await describe(table)) === undefined) {
    if (check) return { from: 0, to: 0, pending }
    await create(table)
    await untilActive(table)
    return { from: 0, to: VERSION, pending: [] }
  }
  const differences = compare(tableInput(table.address.table), await untilActive(table))
  if (differences.length > 0)
    throw new HoldfastError(
      'backend_mismatch',
      `The DynamoDB table ${JSON.stringify(table.address.table)} differs: ${differences.join('; ')}. Name another table in the URL.`,
    )
  return { from: VERSION, to: VERSION, pending: [] }
}

async function create(table: DynamodbTable): Promise<void> {
  const { CreateTableCommand, ResourceInUseException } = table.library
  try {
    await table.administer((client, bound) =>
      client.send(new CreateTableCommand(tableInput(table.address.table)), bound),
    )
  } catch (error) {
    if (!((error as Error).cause instanceof ResourceInUseException)) throw error // another process was faster
  }
}

async function describe(table: DynamodbTable): Promise<TableDescription | undefined> {
  const { DescribeTableCommand, ResourceNotFoundException } = table.library
  try {
    const command = new DescribeTableCommand({ TableName: table.address.table })
    return (await table.administer((client, bound) => client.send(command, bound))).Table
  } catch (error) {
    if ((error as Error).cause instanceof ResourceNotFoundException) return undefined
    throw error
  }
}

async function untilActive(table: DynamodbTable): Promise<TableDescription> {
  const deadline = performance.now() + ACTIVE_WITHIN_MS
  for (;;) {
    const found = await describe(table)
    const indexes = found?.GlobalSecondaryIndexes ?? []
    const isActive = found?.TableStatus === 'ACTIVE' && indexes.every(({ IndexStatus }) => IndexStatus === 'ACTIVE')
    if (found !== undefined && isActive) return found
    if (performance.now() > deadline)
      throw new HoldfastError(
        'backend_failed',
        `The DynamoDB table ${JSON.stringify(table.address.table)} did not become active within ${ACTIVE_WITHIN_MS} ms.`,
      )
    await sleep(200)
  }
}

function compare(wanted: CreateTableCommandInput, found: TableDescription): string[] {
  const keysOf = (keys: readonly KeySchemaElement[] | undefined): string =>
    (keys ?? []).map(({ AttributeName, KeyType }) => `${AttributeName} ${KeyType}`).join(', ')
  const differences: string[] = []
  const same = (what: string, is: string | undefined, must: string | undefined): void => {
    if (is !== must)
      differences.push(`${what} is ${is === undefined || is === '' ? 'not there' : is}, and ${must} is needed`)
  }
  same('the key', keysOf(found.KeySchema), keysOf(wanted.KeySchema))
  for (const index of wanted.GlobalSecondaryIndexes!) {
    const present = found.GlobalSecondaryIndexes?.find(({ IndexName }) => IndexName === index.IndexName)
    same(`the key of the index ${index.IndexName}`, keysOf(present?.KeySchema), keysOf(index.KeySchema))
    same(
      `the projection of the index ${index.IndexName}`,
      present?.Projection?.ProjectionType,
      index.Projection!.ProjectionType,
    )
  }
  return differences
}
