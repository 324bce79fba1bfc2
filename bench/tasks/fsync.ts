/** What the disk costs, beside what is measured on it. */
import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { Client } from 'pg'
import { quantile } from '../lib/stats.ts'

/** Milliseconds of one. */
export interface Cost {
  p50Ms: number
  p99Ms: number
}

const times = 500
const pageBytes = 8192

/** A write of a page at the end of a file, and its way to the disk, one after another. */
export async function syncCost(dir: string): Promise<Cost> {
  const file = openSync(join(dir, 'sync'), 'w')
  const page = Buffer.alloc(pageBytes, 1)
  const cost = await timed(() => {
    writeSync(file, page)
    fdatasyncSync(file)
  })
  closeSync(file)
  return cost
}

/** One small row and its commit, one after another on one connection of Postgres. */
export async function commitCost(url: string, isSynced: boolean): Promise<Cost> {
  const client = new Client({ connectionString: url })
  await client.connect()
  try {
    await client.query('create table beside (value text)')
    await client.query(`set synchronous_commit = ${isSynced ? 'on' : 'off'}`)
    const insert = { name: 'insert', text: 'insert into beside values ($1)', values: ['x'.repeat(200)] }
    return await timed(() => client.query(insert))
  } finally {
    await client.end()
  }
}

/** Statements a second that the server carries out in a database, those of the look itself left out. */
export async function statementsPerSecond(url: string, durationMs: number): Promise<number> {
  const client = new Client({ connectionString: url })
  await client.connect()
  try {
    const count = async (): Promise<number> => {
      const { rows } = await client.query<{ count: number }>(
        'select (xact_commit + xact_rollback)::int as count from pg_stat_database where datname = current_database()',
      )
      return rows[0]!.count
    }
    const before = await count()
    await new Promise((resolve) => setTimeout(resolve, durationMs))
    return ((await count()) - before) / (durationMs / 1000)
  } finally {
    await client.end()
  }
}

async function timed(body: () => unknown): Promise<Cost> {
  const all: number[] = []
  for (let index = 0; index < times; index++) {
    const startedMs = performance.now()
    await body()
    all.push(performance.now() - startedMs)
  }
  return { p50Ms: quantile(all, 0.5), p99Ms: quantile(all, 0.99) }
}
