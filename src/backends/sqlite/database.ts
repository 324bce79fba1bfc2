/* oxlint-disable typescript/no-unnecessary-type-parameters -- a statement's text says of what type its rows are */
import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite'
import { HoldfastError } from '../../errors/holdfast-error.ts'
import type { Migration } from './migrations.ts'
import type { SqliteAddress } from './url.ts'

type Parameters = Record<string, SQLInputValue>

/** A database with its statements, each prepared once. */
export class Database {
  readonly #db: DatabaseSync
  readonly #statements = new Map<string, StatementSync>()

  /** Opens the file, and makes it and its folder where there is none, for its owner alone: tasks hold what callers have sent. */
  constructor({ file, busyTimeoutMs }: SqliteAddress) {
    if (file !== ':memory:') mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
    this.#db = new DatabaseSync(file)
    // Each commit is on the disk before it is told of.
    this.#db.exec(
      `pragma busy_timeout = ${busyTimeoutMs}; pragma journal_mode = wal; pragma synchronous = full; pragma foreign_keys = on`,
    )
  }

  /** Rows, typed by what the caller knows of the statement. */
  all<Row>(sql: string, parameters: Parameters = {}): Row[] {
    return this.#prepared(sql).all(parameters) as Row[]
  }
  get<Row>(sql: string, parameters: Parameters = {}): Row | undefined {
    return this.#prepared(sql).get(parameters) as Row | undefined
  }
  run(sql: string, parameters: Parameters = {}): void {
    this.#prepared(sql).run(parameters)
  }
  exec(sql: string): void {
    this.#db.exec(sql)
  }

  /** Runs `body` as one transaction that no other writer comes between, of this process or another. */
  transaction<Result>(body: () => Result): Result {
    this.run('begin immediate')
    try {
      const result = body()
      this.run('commit')
      return result
    } catch (error) {
      this.#undo('rollback')
      throw error
    }
  }

  /** Runs `body` whole or not at all, within a transaction. */
  atomically<Result>(body: () => Result): Result {
    this.run('savepoint one')
    try {
      const result = body()
      this.run('release one')
      return result
    } catch (error) {
      this.#undo('rollback to one')
      this.#undo('release one')
      throw error
    }
  }

  close(): void {
    this.#statements.clear()
    this.#db.close()
  }

  /** Some errors (a full disk) have ended the transaction already. */
  #undo(sql: string): void {
    if (this.#db.isTransaction) this.run(sql)
  }

  #prepared(sql: string): StatementSync {
    let statement = this.#statements.get(sql)
    if (statement === undefined) this.#statements.set(sql, (statement = this.#db.prepare(sql)))
    return statement
  }
}

interface Applied {
  number: number
  name: string
  is_breaking: number
}

/**
 * Brings a database to the last of `migrations`; other processes wait meanwhile.
 * @throws {HoldfastError} `backend_mismatch` where newer code has changed it so that this one must not use it.
 */
export function migrate(
  db: Database,
  migrations: readonly Migration[],
  { check = false }: { check?: boolean } = {},
): { from: number; to: number; pending: string[] } {
  return db.transaction(() => {
    const exists = db.get(`select 1 from sqlite_schema where type = 'table' and name = 'hf_migration'`) !== undefined
    const applied = exists ? db.all<Applied>('select number, name, is_breaking from hf_migration order by number') : []
    const from = applied.at(-1)?.number ?? 0
    const to = migrations.at(-1)?.number ?? 0
    const newer = applied.find(({ number, is_breaking }) => number > to && is_breaking === 1)
    if (newer !== undefined)
      throw new HoldfastError(
        'backend_mismatch',
        `The database of tasks was changed by a newer version of Holdfast (migration ${newer.number}, ${newer.name}), with which this one must not work: use the newer one.`,
      )
    const pending = migrations.filter(({ number }) => number > from)
    const names = pending.map(({ number, name }) => `${String(number).padStart(4, '0')}-${name}`)
    if (check) return { from, to: Math.max(from, to), pending: names }
    if (!exists)
      db.exec(
        'create table hf_migration (number integer primary key, name text not null, is_breaking integer not null, applied_at integer not null) strict',
      )
    for (const { number, name, isBreaking, sql } of pending) {
      db.exec(sql)
      db.run(
        'insert into hf_migration (number, name, is_breaking, applied_at) values ($number, $name, $breaking, $now)',
        {
          number,
          name,
          breaking: isBreaking ? 1 : 0,
          now: Date.now(),
        },
      )
    }
    return { from, to: Math.max(from, to), pending: names }
  })
}
