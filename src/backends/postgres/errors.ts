import { HoldfastError } from '../../errors/holdfast-error.ts'

/** SQLSTATE of a server's answer; `undefined` for what came from the connection. */
export function sqlState(error: unknown): string | undefined {
  const { code, severity } = error as { code?: unknown; severity?: unknown }
  return typeof code === 'string' && severity !== undefined ? code : undefined
}

/** A name or value that a unique index has already. */
export const UNIQUE_VIOLATION = '23505'

const REMEDIES: Readonly<Record<string, string>> = {
  '28P01': 'The user or the password is wrong.',
  '28000': 'The server does not let this user in from here (pg_hba.conf), or wants TLS: write sslmode=require.',
  '3D000': 'The database does not exist: create it.',
  '3F000': 'The schema does not exist: run `holdfast migrate`.',
  '42P01': 'Tables are missing: run `holdfast migrate`.',
  '42703': 'Columns are missing: run `holdfast migrate`.',
  '42501': 'The user lacks a right: it needs SELECT, INSERT, UPDATE and DELETE on the tables, and USAGE on the schema.',
  '25006': 'The server takes no writes: it is a standby. Name the primary.',
  '53300': 'The server has no connection left (max_connections): lower the option connections, or raise its bound.',
  '53100': "The server's disk is full.",
  '57014': 'It took longer than statementTimeoutMs.',
  '55P03': 'Rows were locked by others for too long.',
  '40P01': 'The server ended it to break a deadlock.',
}
/** Answers that no waiting mends: what the URL says is wrong. */
const MISTAKES = ['28P01', '28000', '3D000', '42501']
/** Of Node's TLS: who the server is can't be trusted. */
const TLS_MISTAKES = /^(ERR_SSL_|ERR_TLS_|CERT_|SELF_SIGNED_|DEPTH_ZERO_|UNABLE_TO_(GET|VERIFY)_|HOSTNAME_MISMATCH)/

/** Whether an error is a mistake in the URL (or in what it points to) that no waiting mends. */
export function isMistake(error: unknown): boolean {
  const state = sqlState(error)
  return state === undefined ? TLS_MISTAKES.test(String((error as { code?: unknown }).code)) : MISTAKES.includes(state)
}

/** Whether the server has refused the values: it has done nothing, and some others in their place would have passed. */
export const isDataError = (error: unknown): boolean => /^2[23]/.test(sqlState(error) ?? '')

/** Whether a connection can go on after an error: not after a time-out, a shutdown, or on a server that takes no writes. */
export function isUsableAfter(error: unknown): boolean {
  const state = sqlState(error)
  return state !== undefined && !/^(57P|08|25006)/.test(state)
}

/** What an error says of the server. Away are one that starts, stops, or has no connection left, too: what more are sent to it waits. */
export function saysOf(error: unknown): 'away' | 'there' {
  const state = sqlState(error)
  return state === undefined || /^(57P|08|53300)/.test(state) ? 'away' : 'there'
}

/** The error that a backend throws: ours, with the driver's as its cause. */
export function toBackendError(operation: string, cause: unknown): HoldfastError {
  if (cause instanceof HoldfastError) return cause
  const remedy = REMEDIES[sqlState(cause) ?? '']
  const message = `Postgres did not carry out ${operation}.${remedy === undefined ? '' : ` ${remedy}`}`
  return new HoldfastError('backend_failed', message, { cause })
}
