import { HoldfastError } from '../../errors/holdfast-error.ts'

/** What to do about errors that Redis answers with, by the word that each begins with: that is the protocol's error code. */
const REMEDIES: Readonly<Record<string, string>> = {
  WRONGPASS: 'The user or the password is wrong.',
  NOAUTH: 'The server asks for a password: write it into the URL.',
  NOPERM: 'The user may not do this: give it the commands and keys that the operator page lists.',
  READONLY: 'This server is a replica: name the master, or reach it by redis+sentinel://.',
  OOM: 'The server is out of memory (maxmemory) and takes no writes.',
  MISCONF: 'The server can not save to its disk and takes no writes.',
  NOREPLICAS: 'The server has too few replicas (min-replicas-to-write) and takes no writes.',
  LOADING: 'The server is still loading its data.',
  MASTERDOWN: 'The server is a replica that has lost its master.',
  CLUSTERDOWN: 'The cluster has no master for some slots.',
  BUSY: 'The server is busy with a script.',
  WRONGTYPE: 'The key holds a value of another kind: a log where a value was meant, or the other way round.',
}
/** Answers that no waiting mends: what the URL says is wrong. */
const MISTAKES = ['WRONGPASS', 'NOAUTH', 'NOPERM']
/** Of Node's TLS: the other end speaks no TLS, or who it is can't be trusted. */
const TLS_MISTAKES =
  /^(ERR_SSL_|ERR_TLS_|EPROTO$|CERT_|SELF_SIGNED_|DEPTH_ZERO_|UNABLE_TO_(GET|VERIFY)_|HOSTNAME_MISMATCH)/

/** The error code of an answer of Redis; `undefined` for what came from the connection. */
export function replyCode(error: unknown): string | undefined {
  return error instanceof Error && error.name === 'ReplyError' ? /^[A-Z]+/.exec(error.message)?.[0] : undefined
}

/** Whether an error is a mistake in the URL (or in what it points to) that no waiting mends. */
export function isMistake(error: unknown): boolean {
  if ((error as { isMistake?: boolean } | undefined)?.isMistake === true) return true
  const code = replyCode(error)
  if (code !== undefined) return MISTAKES.includes(code)
  return TLS_MISTAKES.test(String((error as { code?: unknown } | undefined)?.code))
}

/** What is known about an error's remedy, with a space before it. */
export function remedyFor(error: unknown): string {
  const remedy = REMEDIES[replyCode(error) ?? '']
  return remedy === undefined ? '' : ` ${remedy}`
}

/** The error that a backend throws: ours, with the driver's as its cause. */
export function toBackendError(operation: string, cause: unknown): HoldfastError {
  if (cause instanceof HoldfastError) return cause
  return new HoldfastError('backend_failed', `Redis did not carry out ${operation}.${remedyFor(cause)}`, { cause })
}
