// The three task stores.
import { mkdtemp, rm } from 'node:fs/promises'
import { DatabaseSync } from 'node:sqlite'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { openDynamodbTasks } from '../../../src/backends/dynamodb/task-store.ts'
import { openPostgres } from '../../../src/backends/postgres/open.ts'
import { openSqlite } from '../../../src/backends/sqlite/task-store.ts'
import { systemClock } from '../../../src/ports/clock.ts'
import { startDynamodb } from '../../servers/dynamodb.ts'
import { startPostgres } from '../../servers/postgres.ts'
import { guard, release } from '../../servers/watchdog.ts'
import type { Toxiproxy } from '../../servers/toxiproxy.ts'
import { until } from '../../servers/tools.ts'
import { useLocalCredentials, type StoreBackend, type StoreName } from './backend.ts'
import { Links } from './links.ts'

/** Starts a store; its schema is there. */
export function startStore(name: StoreName, toxiproxy: Toxiproxy): Promise<StoreBackend> {
  if (name === 'sqlite') return sqlite()
  return name === 'postgres' ? postgres(toxiproxy) : dynamodb(toxiproxy)
}

/** A file that all processes share; what can break is its lock. */
async function sqlite(): Promise<StoreBackend> {
  const dir = await mkdtemp(join(tmpdir(), 'holdfast-chaos-'))
  guard({ folder: dir })
  const file = join(dir, 'tasks.db')
  const url = `sqlite:${encodeURI(file)}?busyTimeoutMs=2000`
  await (await openSqlite(url)).close()
  /** Waits for the lock without holding this process up. */
  const withFile = async <T>(run: (db: DatabaseSync) => Promise<T> | T): Promise<T> => {
    const db = new DatabaseSync(file, { timeout: 50 })
    try {
      return await run(db)
    } finally {
      db.close()
    }
  }
  return {
    urlFor: async () => url,
    links: undefined,
    faults: {
      'store locked': (lastingMs) =>
        withFile(async (db) => {
          await until('The lock of the database', 10_000, async () => {
            db.exec('begin immediate')
            return true
          })
          await sleep(lastingMs)
          db.exec('rollback')
        }),
    },
    open: () => openSqlite(url),
    rest: () =>
      withFile((db) => ({
        rows: Number(db.prepare('select count(*) as n from hf_task').get()!['n']),
        'journal entries': Number(db.prepare('select count(*) as n from hf_journal').get()!['n']),
      })),
    async [Symbol.asyncDispose]() {
      await rm(dir, { recursive: true, force: true })
      await release({ folder: dir })
    },
  }
}

/** A server that is killed like a machine that loses its power, with fsync on: what it acknowledged is there again. */
async function postgres(toxiproxy: Toxiproxy): Promise<StoreBackend> {
  const server = await startPostgres()
  const links = new Links(toxiproxy, 'postgres', server)
  const urlOf = (port: number): string =>
    `postgres://postgres@127.0.0.1:${port}/postgres?connections=4&connectTimeoutMs=2000&statementTimeoutMs=3000`
  const store = await openPostgres(urlOf(server.port), { forMigration: true })
  await store.migrate()
  await store.close()
  const count = async (table: string): Promise<number> =>
    Number((await server.query<{ n: string }>(`select count(*) as n from holdfast.${table}`))[0]!.n)
  return {
    urlFor: async (process) => urlOf((await links.of(process)).port),
    links,
    faults: {
      'store killed': async (lastingMs) => {
        await server.kill()
        await sleep(lastingMs / 4)
        await server.start()
      },
      'store paused': async (lastingMs) => {
        await server.pause()
        await sleep(lastingMs)
        await server.resume()
      },
    },
    open: () => openPostgres(urlOf(server.port)),
    rest: async () => ({ rows: await count('hf_task'), 'journal entries': await count('hf_journal') }),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
}

/** It is paused and cut off, not killed: DynamoDB Local answers a transaction before its file has it. */
async function dynamodb(toxiproxy: Toxiproxy): Promise<StoreBackend> {
  useLocalCredentials()
  const server = await startDynamodb()
  const links = new Links(toxiproxy, 'dynamodb', server)
  const urlOf = (port: number): string =>
    `dynamodb://chaos?region=us-east-1&connectTimeoutMs=1000&commandTimeoutMs=3000&endpoint=${encodeURIComponent(`http://127.0.0.1:${port}`)}`
  const open = () => openDynamodbTasks(urlOf(server.port), systemClock)
  const store = await open()
  await store.migrate()
  await store.close()
  return {
    urlFor: async (process) => urlOf((await links.of(process)).port),
    links,
    faults: {
      'store paused': async (lastingMs) => {
        server.process.pause()
        await sleep(lastingMs)
        server.process.resume()
      },
    },
    open,
    rest: () => countItems(server.endpoint),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
}

/** Every item of the table but those of its queues, which stay. */
async function countItems(endpoint: string): Promise<Record<string, number>> {
  const { DynamoDBClient, ScanCommand } = await import('@aws-sdk/client-dynamodb')
  const client = new DynamoDBClient({ region: 'us-east-1', endpoint })
  const counts = { rows: 0, 'journal entries': 0, 'idempotency keys': 0 }
  try {
    let from: Record<string, never> | undefined
    do {
      const page = await client.send(
        new ScanCommand({
          TableName: 'chaos',
          ConsistentRead: true,
          ...(from === undefined ? {} : { ExclusiveStartKey: from }),
        }),
      )
      for (const item of page.Items ?? []) {
        const [pk, sk] = [item['pk']!.S!, item['sk']!.S!]
        if (pk.startsWith('i#')) counts['idempotency keys']++
        else if (pk.startsWith('t#')) counts[sk === 't' ? 'rows' : 'journal entries']++
      }
      from = page.LastEvaluatedKey as Record<string, never> | undefined
    } while (from !== undefined)
    return counts
  } finally {
    client.destroy()
  }
}
