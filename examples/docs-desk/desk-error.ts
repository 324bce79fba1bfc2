/** Why Docs desk refused a call. */
export type DeskErrorCode = 'invalid_settings' | 'invalid_argument' | 'not_found' | 'ambiguous' | 'too_large'

/** An error whose message is meant for the caller: it says what was refused, the value, and the remedy. */
export class DeskError extends Error {
  override readonly name = 'DeskError'
  readonly code: DeskErrorCode

  constructor(code: DeskErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/** The text of anything thrown. */
export function errorMessage(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
