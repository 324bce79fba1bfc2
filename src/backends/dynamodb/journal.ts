import type { AttributeValue, TransactWriteItem } from '@aws-sdk/client-dynamodb'
import type { JournalEntry } from '../../ports/task-store.ts'
import { fromAttribute } from './blobs.ts'
import { number, text } from './row.ts'
import { JOURNAL, taskKey } from './schema.ts'
import { N, S, type DynamodbTable, type Item } from './table.ts'

/** An entry with its name, and whether it is a question without an answer. */
export type Entry = JournalEntry & { readonly sk: string }

let counter = 0

/**
 * The attributes of a new entry. Its order: the fence of who wrote it, then the order in which that one process wrote; nobody else
 * can write under the same fence.
 */
export function entryItem(id: string, fence: number, name: string, more: Item): Item {
  return { pk: S(taskKey(id)), sk: S(JOURNAL + name), name: S(name), fence: N(fence), seq: N(counter++), ...more }
}

/** As one part of a transaction: the answer to a question that has none. */
export const toAnswer = (
  table: DynamodbTable,
  id: string,
  sk: string,
  value: AttributeValue,
  nowMs: number,
): TransactWriteItem =>
  table.toUpdate(taskKey(id), sk, {
    set: { value, answeredAt: N(nowMs) },
    condition: 'attribute_exists(pk) and attribute_not_exists(#answeredAt)',
  })

/** The journal of a task, in order. */
export async function readJournal(table: DynamodbTable, id: string): Promise<Entry[]> {
  const items = await table.partition(taskKey(id), JOURNAL)
  const orderOf = (item: Item): [number, number] => [number(item['fence'])!, number(item['seq'])!]
  items.sort((a, b) => {
    const [[fenceA, seqA], [fenceB, seqB]] = [orderOf(a), orderOf(b)]
    return fenceA - fenceB || seqA - seqB
  })
  return Promise.all(
    items.map(async (item) => ({
      sk: text(item['sk'])!,
      name: text(item['name'])!,
      kind: text(item['kind']) as 'step' | 'ask',
      request: await fromAttribute(table, id, item['request']),
      value: await fromAttribute(table, id, item['value']),
    })),
  )
}
