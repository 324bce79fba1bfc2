import { HoldfastError } from '../../errors/holdfast-error.ts'

/** What one message says: there are tasks in this queue, perhaps these. */
export interface Bell {
  readonly queue: string
  readonly taskIds: readonly string[]
}

/** So many ids go into one message: with more, few workers would be woken by many tasks; with fewer, messages are many. */
const IDS_PER_BELL = 10
/** A message that is bigger is not one of ours. */
const MAX_BYTES = 64 * 1024

/** The messages that ring for tasks. Ringing without an id is ringing too. */
export function toMessages(queue: string, taskIds: readonly string[]): readonly string[] {
  const messages: string[] = []
  for (let from = 0; from === 0 || from < taskIds.length; from += IDS_PER_BELL)
    messages.push(JSON.stringify({ queue, taskIds: taskIds.slice(from, from + IDS_PER_BELL) }))
  return messages
}

/** What a message says; `undefined` for one that is not ours: it can't be acted on, however often it comes. */
export function fromMessage(message: string | Uint8Array): Bell | undefined {
  if (message.length > MAX_BYTES) return undefined
  try {
    const parsed = JSON.parse(typeof message === 'string' ? message : Buffer.from(message).toString()) as Partial<Bell>
    const { queue, taskIds } = parsed
    if (typeof queue !== 'string' || !Array.isArray(taskIds)) return undefined
    return taskIds.every((id) => typeof id === 'string') ? { queue, taskIds } : undefined
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError) return undefined
    throw error
  }
}

/** What use after the end meets. */
export const closedError = (what = 'task queue'): HoldfastError =>
  new HoldfastError('closed', `The ${what} was closed.`)

/** The error of a broker's operation: ours, with the client's as its cause. */
export function toQueueError(broker: string, operation: string, cause: unknown): HoldfastError {
  if (cause instanceof HoldfastError) return cause
  const isLate = cause instanceof Error && cause.name === 'AbortError'
  const reason = isLate ? ': no answer in time' : cause instanceof Error ? `: ${cause.message}` : ''
  return new HoldfastError('backend_failed', `${broker} did not carry out ${operation}${reason}`, { cause })
}
