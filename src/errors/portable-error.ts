import { HoldfastError, ToolError } from './holdfast-error.ts'
import { ERRORS, type ErrorCode } from './table.ts'

/** An error that crosses from one thread or process to another. What else hangs on a driver's error may hold what can't. */
export interface PortableError {
  readonly name: string
  readonly message: string
  readonly stack: string | undefined
  readonly code: string | undefined
  readonly data: Readonly<Record<string, unknown>> | undefined
  readonly cause: PortableError | undefined
}

const MOST_CAUSES = 5

/** Makes it ready to cross. */
export function toPortable(error: unknown, causes = MOST_CAUSES): PortableError {
  const { name, message, stack, code, cause } = (
    error instanceof Error ? error : new Error(String(error))
  ) as NodeJS.ErrnoException
  return {
    name,
    message,
    stack,
    code: code === undefined ? undefined : String(code),
    data: error instanceof HoldfastError ? error.data : undefined,
    cause: cause === undefined || causes === 0 ? undefined : toPortable(cause, causes - 1),
  }
}

/** The error on the other side: ours of the same class, others as plain errors of the same name, message, stack and code. */
export function fromPortable({ name, message, stack, code, data, cause }: PortableError): Error {
  const options = cause === undefined ? {} : { cause: fromPortable(cause) }
  const error =
    name === 'ToolError'
      ? new ToolError(message, options)
      : name === 'HoldfastError' && code !== undefined && Object.hasOwn(ERRORS, code)
        ? new HoldfastError(code as ErrorCode, message, data === undefined ? options : { ...options, data })
        : Object.assign(new Error(message, options), { name }, code === undefined ? {} : { code })
  if (stack !== undefined) error.stack = stack
  return error
}
