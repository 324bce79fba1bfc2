import type { Message, Reply } from '../clients/raw.ts'

/** What came of one use of a feature. */
export interface Outcome {
  /** `ok`, or the code of the error: one of ours, or what else it was. */
  readonly code: string
  /** What a client was told, where it was no success. */
  readonly text?: string
}

/** Uses a feature once, at one of the nodes. */
export type Use = (node: number) => Promise<Outcome>

/** It did what it should. */
export const OK: Outcome = { code: 'ok' }

/** What an answer came to. @param isRight whether a result is the right one */
export function outcomeOf(
  { status, message, text }: Pick<Reply, 'status' | 'message' | 'text'>,
  isRight: (result: NonNullable<Message['result']>) => boolean = () => true,
): Outcome {
  if (message?.error !== undefined) {
    const { data, code, message: told } = message.error
    return { code: typeof data?.['code'] === 'string' ? data['code'] : `error ${code}`, text: told }
  }
  const result = message?.result
  if (result === undefined) return { code: `status ${status}`, text }
  if (result['isError'] === true) return { code: 'isError', text: JSON.stringify(result['content']) }
  return isRight(result) ? OK : { code: 'wrong', text: JSON.stringify(result).slice(0, 300) }
}

/** The text of a result. */
export const textOf = (result: NonNullable<Message['result']>): string =>
  (result['content'] as { text?: string }[]).map(({ text = '' }) => text).join('')
