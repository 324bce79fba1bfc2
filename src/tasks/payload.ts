import type { JsonObject } from '../kernel/protocol.ts'
import type { Outcome } from '../kernel/invocation.ts'
import type { ClientRequest } from '../kernel/question.ts'
import { NoAnswer } from '../kernel/replay-host.ts'
import type { Entry, EntryKind } from '../kernel/request-state.ts'
import type { TaskView } from '../kernel/task-engine.ts'

/**
 * What lies in a task's row and journal, as bytes of JSON. Written by one version of this package and read by the next: add
 * fields, and never change one.
 */
export interface TaskArguments {
  readonly arguments: JsonObject
  /** What the call had put on record before it became a task. */
  readonly entries?: readonly Entry[]
  /** Somebody waits for it, and wants to hear of progress at once. */
  readonly isAttended?: boolean
}

/** A question on record. */
export interface AskedQuestion {
  readonly kind: EntryKind
  readonly request: ClientRequest
}

/** An answer on record: what the client sent, or that there is none. */
type RecordedAnswer = { readonly answer: unknown } | { readonly refusal: string } | null

/** An error that a task has ended with. */
export type TaskError = NonNullable<TaskView['error']>

const encode = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value))
const decode = (bytes: Uint8Array): unknown => JSON.parse(Buffer.from(bytes).toString())

export const toArguments = (args: TaskArguments): Uint8Array => encode(args)
export const fromArguments = (bytes: Uint8Array): TaskArguments => decode(bytes) as TaskArguments

export const toQuestion = (question: AskedQuestion): Uint8Array => encode(question)
export const fromQuestion = (bytes: Uint8Array): AskedQuestion => decode(bytes) as AskedQuestion

export const toAnswer = (answer: unknown): Uint8Array =>
  encode((answer instanceof NoAnswer ? { refusal: answer.refusal } : { answer }) satisfies object)
export const fromAnswer = (bytes: Uint8Array): unknown => {
  const recorded = decode(bytes) as RecordedAnswer
  if (recorded === null) return new NoAnswer()
  return 'refusal' in recorded ? new NoAnswer(recorded.refusal) : recorded.answer
}
/** What the store writes where a question was not answered in time. */
export const EXPIRED_ANSWER: Uint8Array = encode(null)

/** A step's value, or the time that a sleep lasts until; the name stands beside it. */
export const toEntryValue = ([, kind, ...value]: Entry): Uint8Array => encode([kind, ...value])
export const fromEntryValue = (name: string, bytes: Uint8Array): Entry => {
  const [kind, ...value] = decode(bytes) as [EntryKind, unknown?]
  return [name, kind, ...value]
}

/** In place of a value that is too big for the journal: its key in the artifact store. */
export const toValueKey = (key: string): Uint8Array => encode({ key })
export const fromValueKey = (bytes: Uint8Array): string | undefined => {
  if (bytes[0] !== 0x7b) return undefined // an entry is a list, this an object
  return (decode(bytes) as { key: string }).key
}

export const toResult = ({ members, meta, isError }: Outcome): Uint8Array =>
  encode({
    members: members.toString(),
    ...(meta === undefined ? {} : { meta }),
    ...(isError === true ? { isError } : {}),
  })
export const fromResult = (bytes: Uint8Array): Outcome => decode(bytes) as Outcome

export const toError = (error: TaskError): Uint8Array => encode(error)
export const fromError = (bytes: Uint8Array): TaskError => decode(bytes) as TaskError
