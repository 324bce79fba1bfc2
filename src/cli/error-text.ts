/** An error and its causes, for who looks after the server: what a message says already is not said again. */
export function errorText(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown)
  // Of a host with several addresses each has an error of its own.
  if (thrown instanceof AggregateError && thrown.message === '') return thrown.errors.map(errorText).join('; ')
  if (thrown.cause === undefined) return thrown.message
  const reason = errorText(thrown.cause)
  return thrown.message.includes(reason) ? thrown.message : `${thrown.message} (${reason})`
}
