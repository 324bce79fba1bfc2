import type { AttributeValue } from '@aws-sdk/client-dynamodb'
import { randomUUID } from 'node:crypto'
import { BLOB, taskKey } from './schema.ts'
import { B, N, S, type DynamodbTable } from './table.ts'

/** Above this a value lies beside its item, which may have 400 KB in all. */
const MAX_INLINE_BYTES = 64 * 1024
const PART_BYTES = 350 * 1024

/** A value as an attribute. A big one is written first, in parts that go with the task; until something names it, it means nothing. */
export async function toAttribute(table: DynamodbTable, id: string, value: Uint8Array): Promise<AttributeValue> {
  if (value.length <= MAX_INLINE_BYTES) return B(value)
  const blob = randomUUID()
  const parts: Uint8Array[] = []
  for (let from = 0; from < value.length; from += PART_BYTES) parts.push(value.subarray(from, from + PART_BYTES))
  await table.writeMany(
    parts.map((part, index) => ({
      PutRequest: { Item: { pk: S(taskKey(id)), sk: S(partKey(blob, index)), part: B(part) } },
    })),
  )
  return { M: { blob: S(blob), parts: N(parts.length) } }
}

/** The value of an attribute. */
export async function fromAttribute(
  table: DynamodbTable,
  id: string,
  value: AttributeValue | undefined,
): Promise<Uint8Array | undefined> {
  if (value?.M === undefined) return value?.B
  const { blob, parts } = value.M
  const keys = Array.from({ length: Number(parts!.N) }, (_, index) => partKey(blob!.S!, index))
  const items = await table.getMany(keys.map((sk) => ({ pk: taskKey(id), sk })))
  const bySk = new Map(items.map((item) => [item['sk']!.S, item['part']!.B!]))
  return Buffer.concat(keys.map((sk) => bySk.get(sk)!))
}

/** Removes the parts of a value that nothing came to name. */
export async function dropAttribute(table: DynamodbTable, id: string, value: AttributeValue): Promise<void> {
  if (value.M === undefined) return
  const { blob, parts } = value.M
  await table.writeMany(
    Array.from({ length: Number(parts!.N) }, (_, index) => ({
      DeleteRequest: { Key: { pk: S(taskKey(id)), sk: S(partKey(blob!.S!, index)) } },
    })),
  )
}

const partKey = (blob: string, index: number): string => `${BLOB}${blob}#${String(index).padStart(5, '0')}`
