import { expect } from 'vitest'
import type { ErrorCode } from '../../../src/index.ts'
import { modern, modernHeaders, type Json } from './messages.ts'

/** What must come back: an error, a result that passes a check, or nothing. */
export type Expected =
  | {
      readonly status: number
      readonly rpc: number
      readonly code: ErrorCode
      /** Id that the error echoes; without the key the error has none. */
      readonly id?: unknown
      /** What the message must say. */
      readonly says?: RegExp
      readonly data?: Json
    }
  | { readonly status: number; readonly answers: (message: never) => void }
  | { readonly status: 202 }

/** Who sends: a 2026-07-28 client, a client in a session of a 2025 revision, or one that never said. */
export type Sender = 'modern' | '2025-11-25' | '2025-06-18' | '2025-03-26' | 'nobody'

/** A hostile message, the same over every transport. */
export interface MessageRow {
  readonly sends: string
  readonly body: string | Buffer
  readonly as: Sender
  readonly expected: Expected
  /** Headers that differ from those that fit `add`. */
  readonly headers?: Readonly<Record<string, string | undefined>>
  /** On stdio the outcome differs, or does not exist. */
  readonly stdio?: Expected | 'none'
}

/** Bounds that the rows are made for. */
export const BOUNDS = {
  maxBodyBytes: 512 * 1024,
  maxJsonDepth: 16,
  maxJsonElements: 50_000,
  maxStringBytes: 20_000,
} as const

export const text = (value: unknown): string => JSON.stringify(value)

/** Half of a surrogate pair, which UTF-8 can't say. */
export const LONE = String.fromCharCode(0xd800)

export const add = (params: Json = {}): Json =>
  modern('tools/call', { name: 'add', arguments: { a: 1, b: 2 }, ...params })
/** A call of `add` whose `"id":1` reads as given. */
export const addWithId = (member: string): string => text(add()).replace('"id":1', member)
export const echo = (argument: unknown): Json => modern('tools/call', { name: 'echo', arguments: { argument } })

export const parseError = { status: 400, rpc: -32700, code: 'parse_error' } as const
export const invalidRequest = { status: 400, rpc: -32600, code: 'invalid_request' } as const
export const invalidParams = { status: 200, rpc: -32602, code: 'invalid_params', id: 1 } as const
export const invalidMeta = { status: 400, rpc: -32602, code: 'invalid_meta', id: 1 } as const
export const SILENT = { status: 202 } as const
/** The answer of `add` as it is called here. */
export const isThree: Expected = {
  status: 200,
  answers: (message: { result: { content: unknown } }) =>
    expect(message.result.content).toEqual([{ type: 'text', text: '3' }]),
}
export const hasId = (id: unknown): Expected => ({
  status: 200,
  answers: (message: { id: unknown; result: unknown }) => {
    expect(message.id).toBe(id)
    expect(message.result).toBeDefined()
  },
})
export const echoes = (argument: unknown): Expected => ({
  status: 200,
  answers: (message: { result: { content: [{ text: string }] } }) =>
    expect(JSON.parse(message.result.content[0].text)).toEqual({ argument }),
})

/** Makes rows of one sender. A message given as an object goes with the headers that fit it. */
export const from =
  (as: Sender) =>
  (sends: string, body: string | Buffer | Json, expected: Expected, more: Partial<MessageRow> = {}): MessageRow => ({
    sends,
    as,
    body: typeof body === 'string' || Buffer.isBuffer(body) ? body : text(body),
    ...(typeof body === 'string' || Buffer.isBuffer(body) || as !== 'modern' ? {} : { headers: modernHeaders(body) }),
    expected,
    ...more,
  })
/** A row whose sender is a 2026-07-28 client. */
export const hostile = from('modern')
