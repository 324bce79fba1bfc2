import type * as operations from './operations.ts'
import type * as upkeep from './upkeep.ts'
import type { SqliteAddress } from './url.ts'

type Operations = typeof operations &
  typeof upkeep & { migrate: (at: operations.At, options: { check?: boolean }) => MigrationReport }

/** What a migration has done, or would do. */
export interface MigrationReport {
  from: number
  to: number
  pending: string[]
}

/** Names of operations that only read: they take no part in a transaction, unless writes are waiting beside them. */
export const READS = ['get', 'versions', 'isOver', 'list', 'find', 'backlog', 'namedArtifacts'] as const
/** Names of operations that write. */
export const WRITES = [
  'create',
  'claim',
  'heartbeat',
  'recordStep',
  'park',
  'answer',
  'finish',
  'retry',
  'release',
  'cancel',
  'attend',
  'sweep',
  'redrive',
] as const
/** What the thread can be asked for. */
export type OperationName = (typeof READS)[number] | (typeof WRITES)[number] | 'migrate'

type Tail<Parameters extends unknown[]> = Parameters extends [unknown, ...infer Rest] ? Rest : never
/** Arguments of an operation. */
export type ArgumentsOf<Name extends OperationName> = Tail<Parameters<Operations[Name]>>
/** Result of an operation. */
export type ResultOf<Name extends OperationName> = ReturnType<Operations[Name]>

/** What the thread is started with. */
export interface ThreadData {
  readonly address: SqliteAddress
  /** Leaves the schema as it is. */
  readonly forMigration: boolean
}

/** A request to the thread. */
export interface Request {
  readonly id: number
  readonly name: OperationName | 'close'
  readonly args: readonly unknown[]
}
/** Its reply. Requests that went with one transaction are replied to together. */
export type Reply =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly error: { readonly message: string; readonly code: string } }
