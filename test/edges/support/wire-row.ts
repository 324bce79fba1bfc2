import type { ErrorCode } from '../../../src/index.ts'
import type { RawConnection } from './raw-connection.ts'
import type { Expected, Sender } from './rows.ts'

/** A hostile request that only HTTP can carry. */
export interface WireRow {
  readonly sends: string
  /** Writes it to a fresh connection. */
  readonly send: (connection: RawConnection, session: (as: Sender) => Promise<string>) => void | Promise<void>
  /**
   * What comes back. `bare`: refused before it was a request, in nothing but a status line. `nobody`: there is no one left to
   * answer to.
   */
  readonly expected: Expected | { readonly bare: readonly number[] } | 'nobody'
  /** Headers that the answer carries. */
  readonly headers?: Readonly<Record<string, RegExp>>
  readonly isHead?: boolean
  /** What becomes of the connection: it serves a normal call, or it is closed. */
  readonly then: 'open' | 'closed'
  /** How many 1xx answers come before. */
  readonly interim?: number
}

/** A row that is sent in one piece. */
export const wire = (
  sends: string,
  bytes: Buffer | string,
  expected: WireRow['expected'],
  then: WireRow['then'],
  more: Partial<WireRow> = {},
): WireRow => ({ sends, send: (connection) => connection.write(bytes), expected, then, ...more })

/** A refusal of the transport's, in JSON-RPC's words. */
export const refusal = (status: number, code: ErrorCode, says?: RegExp): Expected => ({
  status,
  rpc: -32600,
  code,
  ...(says === undefined ? {} : { says }),
})
