import { HoldfastError, toolError } from 'holdfast'
import type { ErrorCode } from 'holdfast'
import { DeskError } from '../desk-error.ts'

/** Shows the messages of Docs desk's own errors to the caller; any other error stays in the log. */
export function forCaller<Arguments extends unknown[], Result>(
  run: (...args: Arguments) => Promise<Result>,
): (...args: Arguments) => Promise<Result> {
  return async (...args) => {
    try {
      return await run(...args)
    } catch (error) {
      if (error instanceof DeskError) throw toolError(error.message, { cause: error })
      throw error
    }
  }
}

/** Makes an error of Docs desk's own one of the protocol, for handlers that have no result to say it in. */
export function refuse(code: ErrorCode): (error: unknown) => never {
  return (error) => {
    if (error instanceof DeskError) throw new HoldfastError(code, error.message, { cause: error })
    throw error
  }
}

/** Whether another attempt may go better: not where Docs desk itself has refused the call. */
export function mayPass(error: unknown): boolean {
  return !(error instanceof Error && error.cause instanceof DeskError)
}
