import pino, { type Logger } from 'pino'

/** Where log lines go, and from which level on. */
export interface LoggerOptions {
  /** `trace`, `debug`, `info`, `warn`, `error`, `fatal` or `silent`. Default `info`. */
  level: string
  /** File descriptor: 1 is stdout, 2 is stderr (stdio servers must keep stdout for messages). */
  fd: number
}

/** Fields that may hold secrets, wherever a handler or an error puts them; at the top and one level down. */
const SECRETS = [
  'authorization',
  'cookie',
  'password',
  'secret',
  'token',
  'apiKey',
  'api_key',
  'accessToken',
  'access_token',
  'refreshToken',
  'refresh_token',
  'privateKey',
]

export interface OwnedLogger {
  readonly logger: Logger
  /** Writes a line that is JSON already. */
  writeLine(line: string): void
  /** Writes out what is buffered. */
  close(): void
}

/** A logger that gathers lines for up to 200 ms or 64 KiB: a write for each request would cost more than the request. */
export function createLogger({ level, fd }: LoggerOptions): OwnedLogger {
  const destination = pino.destination({ fd, minLength: 65_536, maxWrite: 262_144, maxLength: 16_777_216, sync: false })
  const redact = SECRETS.flatMap((name) => [name, `*.${name}`])
  const logger = pino({ level, base: null, redact: { paths: redact, censor: '[redacted]' } }, destination)
  const timer = setInterval(() => destination.flush(), 200)
  timer.unref()
  return {
    logger,
    writeLine: (line) => destination.write(line),
    close() {
      clearInterval(timer)
      try {
        destination.flushSync()
      } catch (error) {
        // The reader of the log has gone, or the descriptor can't be written to now: there is nowhere left to say so.
        if (!(error instanceof Error && 'code' in error)) throw error
      }
    },
  }
}
