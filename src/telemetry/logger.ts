import { LogSink, type LossReason } from './log-sink.ts'

/** Numbers of the levels, as pino writes them: its tools (pino-pretty, transports of log shippers) read these lines. */
const LEVELS = { trace: 10, debug: 20, info: 30, warn: 40, error: 50, fatal: 60, silent: Infinity } as const
/** Severity of a log line. */
export type Level = Exclude<keyof typeof LEVELS, 'silent'>

/** Where log lines go, and from which level on. */
export interface LoggerOptions {
  /** `trace`, `debug`, `info`, `warn`, `error`, `fatal` or `silent`. Default `info`. */
  level: string
  /** File descriptor: 1 is stdout, 2 is stderr (stdio servers must keep stdout for messages). */
  fd: number
}

/**
 * Writes JSON lines in pino's format: `level`, `time` (milliseconds since the epoch), the fields, `msg`. Not pino itself:
 * beside {@link LogSink} (see there why) and the redaction of `log-values.ts` nothing was left of it but 40 ms of start-up.
 */
export class Logger {
  readonly #sink: LogSink
  readonly #least: number

  constructor({ level, fd }: LoggerOptions, onLost: (lines: number, reason: LossReason) => void) {
    this.#least = LEVELS[level as keyof typeof LEVELS]
    this.#sink = new LogSink(fd, onLost)
  }

  isEnabled(level: Level): boolean {
    return LEVELS[level] >= this.#least
  }

  /** Writes a line. `fields` must be plain JSON: what comes from outside goes through `toLogValue` first. */
  log(level: Level, fields: object, message: string): void {
    if (!this.isEnabled(level)) return
    this.#sink.write(`${JSON.stringify({ level: LEVELS[level], time: Date.now(), ...fields, msg: message })}\n`)
  }

  /** Writes a line that is JSON already. */
  writeLine(line: string): void {
    this.#sink.write(line)
  }

  /** Resolves when what was logged is written, or can't be for now. */
  close(): Promise<void> {
    return this.#sink.close()
  }
}
