import type {
  AttributeValue,
  BatchGetItemCommandInput,
  DynamoDBClient,
  QueryCommandInput,
  TransactWriteItem,
  UpdateItemCommandInput,
  WriteRequest,
} from '@aws-sdk/client-dynamodb'
import { setTimeout as sleep } from 'node:timers/promises'
import { HoldfastError } from '../../errors/holdfast-error.ts'
import { loadClient } from '../broker/url.ts'
import { Reach } from '../broker/reach.ts'
import { backoffMs } from '../broker/wait.ts'
import { parseDynamodbUrl, type DynamodbAddress } from './url.ts'

/** The part of the client library that is used. */
export type DynamodbLibrary = typeof import('@aws-sdk/client-dynamodb')
/** An item, as DynamoDB takes and gives it. */
export type Item = Record<string, AttributeValue>
/** What an update does to an item, where its condition holds. */
export interface Change {
  /** `undefined` removes an attribute. */
  readonly set: Readonly<Record<string, AttributeValue | undefined>>
  readonly add?: Readonly<Record<string, number>>
  /** An attribute becomes another one, plus a number. */
  readonly sum?: Readonly<Record<string, readonly [attribute: string, plus: number]>>
  /** An expression over `#name` and `:name`, for attributes of these names. */
  readonly condition: string
  readonly values?: Readonly<Record<string, AttributeValue>>
}

export const S = (value: string): AttributeValue => ({ S: value })
export const N = (value: number): AttributeValue => ({ N: String(value) })
export const B = (value: Uint8Array): AttributeValue => ({ B: value })

/** Rejected before anything was done, so that they may be sent again. */
const BUSY = [
  'ProvisionedThroughputExceededException',
  'ThrottlingException',
  'RequestLimitExceeded',
  'TransactionConflictException',
  'TransactionInProgressException',
]
const MAX_ATTEMPTS = 8
const MAX_BATCH_GET = 100
const MAX_BATCH_WRITE = 25

/** Opens a table. @throws {HoldfastError} `invalid_option` for a malformed URL, or where the package is not installed. */
export async function openTable(url: string): Promise<DynamodbTable> {
  const address = parseDynamodbUrl(url)
  const load = (): Promise<DynamodbLibrary> => import('@aws-sdk/client-dynamodb')
  return new DynamodbTable(await loadClient(load, '@aws-sdk/client-dynamodb@3', address.shown), address)
}

/** One table: commands with a bound, throttling met by a jittered wait, conditions that fail as return values. */
export class DynamodbTable {
  readonly library: DynamodbLibrary
  readonly address: DynamodbAddress
  readonly #client: DynamoDBClient
  readonly #reach = new Reach({ server: 'DynamoDB', saysOf })
  #isClosed = false

  constructor(library: DynamodbLibrary, address: DynamodbAddress) {
    this.library = library
    this.address = address
    const { region, endpoint, connectTimeoutMs } = address
    this.#client = new library.DynamoDBClient({
      ...(region === undefined ? {} : { region }),
      ...(endpoint === undefined ? {} : { endpoint }),
      maxAttempts: 1, // its own retries would hide what a failed condition was caused by
      requestHandler: { connectionTimeout: connectTimeoutMs },
    })
  }

  async get(pk: string, sk: string): Promise<Item | undefined> {
    const { GetItemCommand } = this.library
    const command = new GetItemCommand({ TableName: this.address.table, Key: key(pk, sk), ConsistentRead: true })
    return (await this.#send('a read', (client, bound) => client.send(command, bound))).Item
  }

  /** Items by their keys, in no order; what is not there is left out. */
  async getMany(keys: readonly { pk: string; sk: string }[], attributes?: readonly string[]): Promise<Item[]> {
    const { BatchGetItemCommand } = this.library
    const { table } = this.address
    const items: Item[] = []
    const projection = attributes && {
      ProjectionExpression: attributes.map((name) => `#${name}`).join(', '),
      ExpressionAttributeNames: namesOf(attributes.map((name) => `#${name}`).join(' ')),
    }
    let left: Item[] = keys.map(({ pk, sk }) => key(pk, sk))
    for (let attempt = 0; left.length > 0;) {
      const [now, later] = [left.slice(0, MAX_BATCH_GET), left.slice(MAX_BATCH_GET)]
      const RequestItems: BatchGetItemCommandInput['RequestItems'] = {
        [table]: { Keys: now, ConsistentRead: true, ...projection },
      }
      const { Responses, UnprocessedKeys } = await this.#send('a read', (client, bound) =>
        client.send(new BatchGetItemCommand({ RequestItems }), bound),
      )
      items.push(...(Responses?.[table] ?? []))
      const unprocessed = UnprocessedKeys?.[table]?.Keys ?? []
      if (unprocessed.length === now.length) await this.#backOff('a read', ++attempt)
      left = [...unprocessed, ...later]
    }
    return items
  }

  /** Items of one partition, or of an index's. */
  async query(
    query: Omit<QueryCommandInput, 'TableName'>,
  ): Promise<{ items: Item[]; count: number; next: Item | undefined }> {
    const command = new this.library.QueryCommand({ TableName: this.address.table, ...query })
    const {
      Items = [],
      Count = 0,
      LastEvaluatedKey,
    } = await this.#send('a query', (client, bound) => client.send(command, bound))
    return { items: Items, count: Count, next: LastEvaluatedKey }
  }

  /** All items whose key in the table begins with these. */
  async partition(pk: string, prefix = ''): Promise<Item[]> {
    const items: Item[] = []
    let next: Item | undefined
    do {
      const page = await this.query({
        KeyConditionExpression: prefix === '' ? 'pk = :pk' : 'pk = :pk and begins_with(sk, :sk)',
        ExpressionAttributeValues: { ':pk': S(pk), ...(prefix === '' ? {} : { ':sk': S(prefix) }) },
        ConsistentRead: true,
        ...(next && { ExclusiveStartKey: next }),
      })
      items.push(...page.items)
      next = page.next
    } while (next !== undefined)
    return items
  }

  /** Changes an item where its condition holds; else says what is there instead. */
  async update(pk: string, sk: string, change: Change): Promise<{ item: Item } | { found: Item | undefined }> {
    const { UpdateItemCommand, ConditionalCheckFailedException } = this.library
    const input = this.#update(pk, sk, change)
    try {
      const command = new UpdateItemCommand({ ...input, ReturnValues: 'ALL_NEW' })
      const { Attributes } = await this.#send('a write', (client, bound) => client.send(command, bound))
      return { item: Attributes! }
    } catch (error) {
      const cause = (error as Error).cause
      if (cause instanceof ConditionalCheckFailedException) return { found: cause.Item }
      throw error
    }
  }

  /** Writes an item that must not be there yet; else says what is there. */
  async put(item: Item): Promise<{ found: Item | undefined } | undefined> {
    const { PutItemCommand, ConditionalCheckFailedException } = this.library
    try {
      const command = new PutItemCommand(this.toPut(item).Put!)
      await this.#send('a write', (client, bound) => client.send(command, bound))
      return undefined
    } catch (error) {
      const cause = (error as Error).cause
      if (cause instanceof ConditionalCheckFailedException) return { found: cause.Item }
      throw error
    }
  }

  /** As one part of {@link transact}. */
  toUpdate(pk: string, sk: string, change: Change): TransactWriteItem {
    return { Update: this.#update(pk, sk, change) as TransactWriteItem['Update'] & object }
  }
  /** As one part of {@link transact}: an item that must not be there yet. */
  toPut(item: Item): TransactWriteItem {
    return {
      Put: {
        TableName: this.address.table,
        Item: item,
        ConditionExpression: 'attribute_not_exists(pk)',
        ReturnValuesOnConditionCheckFailure: 'ALL_OLD',
      },
    }
  }

  /** As one part of {@link transact}: an item that goes where it still belongs to this task. */
  toDelete(pk: string, sk: string, id: string): TransactWriteItem {
    return {
      Delete: {
        TableName: this.address.table,
        Key: key(pk, sk),
        ConditionExpression: '#id = :id',
        ExpressionAttributeNames: { '#id': 'id' },
        ExpressionAttributeValues: { ':id': S(id) },
      },
    }
  }

  /** Writes all or nothing. @returns for each part whose condition failed what was there, or `undefined` when it was done. */
  async transact(
    parts: readonly TransactWriteItem[],
  ): Promise<({ found: Item | undefined } | undefined)[] | undefined> {
    const { TransactWriteItemsCommand, TransactionCanceledException } = this.library
    for (let attempt = 1; ; attempt++)
      try {
        const command = new TransactWriteItemsCommand({ TransactItems: [...parts] })
        await this.#send('a transaction', (client, bound) => client.send(command, bound))
        return undefined
      } catch (error) {
        const cause = (error as Error).cause
        if (!(cause instanceof TransactionCanceledException)) throw error
        const reasons = cause.CancellationReasons ?? []
        if (reasons.some(({ Code }) => Code === 'ConditionalCheckFailed'))
          return reasons.map(({ Code, Item }) => (Code === 'ConditionalCheckFailed' ? { found: Item } : undefined))
        // Others are at one of these items at the moment.
        await this.#backOff('a transaction', attempt, error)
      }
  }

  /** Puts and deletes, each by itself. */
  async writeMany(requests: readonly WriteRequest[]): Promise<void> {
    const { BatchWriteItemCommand } = this.library
    const { table } = this.address
    let left = [...requests]
    for (let attempt = 0; left.length > 0;) {
      const [now, later] = [left.slice(0, MAX_BATCH_WRITE), left.slice(MAX_BATCH_WRITE)]
      const { UnprocessedItems } = await this.#send('a write', (client, bound) =>
        client.send(new BatchWriteItemCommand({ RequestItems: { [table]: now } }), bound),
      )
      const unprocessed = UnprocessedItems?.[table] ?? []
      if (unprocessed.length === now.length) await this.#backOff('a write', ++attempt)
      left = [...unprocessed, ...later]
    }
  }

  /** Sends a command of the table's own administration. */
  administer<T>(send: (client: DynamoDBClient, bound: { abortSignal: AbortSignal }) => Promise<T>): Promise<T> {
    return this.#send('an operation on the table', send)
  }

  close(): void {
    this.#isClosed = true
    this.#client.destroy()
  }

  #update(pk: string, sk: string, { set, add = {}, sum = {}, condition, values = {} }: Change): UpdateItemCommandInput {
    const given = Object.entries(set)
    const sets = given.filter(([, value]) => value !== undefined).map(([name]) => `#${name} = :set_${name}`)
    for (const [name, [attribute]] of Object.entries(sum)) sets.push(`#${name} = #${attribute} + :sum_${name}`)
    const removes = given.filter(([, value]) => value === undefined).map(([name]) => `#${name}`)
    const adds = Object.keys(add).map((name) => `#${name} :add_${name}`)
    const UpdateExpression = [
      sets.length > 0 ? `SET ${sets.join(', ')}` : '',
      removes.length > 0 ? `REMOVE ${removes.join(', ')}` : '',
      adds.length > 0 ? `ADD ${adds.join(', ')}` : '',
    ].join(' ')
    const ExpressionAttributeValues: Item = {}
    for (const [name, value] of given) if (value !== undefined) ExpressionAttributeValues[`:set_${name}`] = value
    for (const [name, value] of Object.entries(add)) ExpressionAttributeValues[`:add_${name}`] = N(value)
    for (const [name, [, plus]] of Object.entries(sum)) ExpressionAttributeValues[`:sum_${name}`] = N(plus)
    for (const [name, value] of Object.entries(values)) ExpressionAttributeValues[`:${name}`] = value
    return {
      TableName: this.address.table,
      Key: key(pk, sk),
      UpdateExpression,
      ConditionExpression: condition,
      ExpressionAttributeNames: namesOf(`${UpdateExpression} ${condition}`),
      ExpressionAttributeValues,
      ReturnValuesOnConditionCheckFailure: 'ALL_OLD',
    }
  }

  async #send<T>(
    what: string,
    send: (client: DynamoDBClient, bound: { abortSignal: AbortSignal }) => Promise<T>,
  ): Promise<T> {
    if (this.#isClosed) throw new HoldfastError('closed', 'The task store was closed.')
    for (let attempt = 1; ; attempt++)
      try {
        return await this.#reach.use(() =>
          send(this.#client, { abortSignal: AbortSignal.timeout(this.address.commandTimeoutMs) }),
        )
      } catch (cause) {
        if (cause instanceof HoldfastError) throw cause
        const { table, commandTimeoutMs } = this.address
        const isLate = (cause as Error).name === 'AbortError'
        const reason = isLate ? `no answer within ${commandTimeoutMs} ms` : (cause as Error).message
        const error = new HoldfastError(
          'backend_failed',
          `DynamoDB did not carry out ${what} on ${JSON.stringify(table)}: ${reason}`,
          { cause },
        )
        if (!BUSY.includes((cause as Error).name)) throw error
        await this.#backOff(what, attempt, error)
      }
  }

  async #backOff(what: string, attempt: number, error?: unknown): Promise<void> {
    if (attempt >= MAX_ATTEMPTS)
      throw (
        error ?? new HoldfastError('backend_failed', `DynamoDB is too busy for ${what}: raise the table's capacity.`)
      )
    await sleep(backoffMs(attempt, 10, 1000))
  }
}

/** What has a status came from a server; what has none, and is no mistake of ours, from a connection. */
function saysOf(error: unknown): 'away' | 'there' | 'nothing' {
  const { $metadata, name = '' } = error as { $metadata?: { httpStatusCode?: number }; name?: string }
  if ($metadata?.httpStatusCode !== undefined || BUSY.includes(name)) return 'there'
  return name === 'CredentialsProviderError' ? 'nothing' : 'away'
}

const key = (pk: string, sk: string): Item => ({ pk: S(pk), sk: S(sk) })

/** Every name stands behind a `#`: many of ours are words of DynamoDB's language. */
function namesOf(expression: string): Record<string, string> {
  return Object.fromEntries([...expression.matchAll(/#(\w+)/g)].map(([placeholder, name]) => [placeholder, name!]))
}
