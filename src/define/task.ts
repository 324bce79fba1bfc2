import { invalid, quote } from './names.ts'

/**
 * Runs a tool's calls as durable tasks: on a worker, whichever, to one end, whatever dies on the way.
 *
 * A client that declares the tasks extension (`io.modelcontextprotocol/tasks`) gets a handle at once, and asks for the result
 * later; for any other client the node waits, streams progress, and answers the call when the task has ended.
 */
export interface TaskOptions {
  /**
   * `optional`: as above. `required`: a client of 2026-07-28 that does not declare the extension is refused (`-32021`); the 2025
   * revisions have no such extension, and the node waits there. Default `optional`.
   */
  support?: 'optional' | 'required'
  /**
   * `immediate`: the call is a task from the start. `detach`: it begins as a call, and becomes a task where the handler calls
   * `ctx.detach()`, so that questions before that point are asked within the call. Default `immediate`.
   */
  start?: 'immediate' | 'detach'
  /** Attempts that end in an error which {@link retryable} accepts, at most. Default 3. */
  maxAttempts?: number
  /** Whether an error of the handler is worth another attempt. Default: none is; it is the result, with `isError`. */
  retryable?: (error: unknown) => boolean
  /** Longest wait before another attempt; the waits double from a second on, with full jitter. Default 60,000. */
  maxBackoffMs?: number
  /** Workers that may be lost at it without having put anything on record. Default 3. */
  maxCrashes?: number
  /** `fail`: where its worker is lost, the task fails, for what must not run twice. Default `retry`. */
  onWorkerLost?: 'retry' | 'fail'
  /** Time for one attempt; then it is aborted, and tried again. Default 900,000 (15 minutes). */
  timeoutMs?: number
  /** The task fails if it has not ended by then. Default 86,400,000 (a day). */
  ttlMs?: number
  /** The result is kept for so long after the end. Default 86,400,000 (a day). */
  retentionMs?: number
  /** Queue that it waits in; workers serve queues by name. Default `default`. */
  queue?: string
  /** Weight among the tasks of its queue: an owner's second task of weight 2 waits half as long behind others. Default 1. */
  priority?: number
  /**
   * Attempts at once on one worker, at most: for what the tool works with, or as much memory as it takes. Tools that have reached
   * theirs keep no slot from others. Default: the tool's `concurrency`, else as many as the worker has slots.
   */
  concurrency?: number
  /**
   * Runs each attempt in a thread or a process of its own, for code that blocks the event loop, leaks memory or ignores
   * `ctx.signal`: it can then be ended, and harms no other task. The server's module is loaded again there. Default: attempts
   * share the worker's event loop.
   */
  isolation?: 'thread' | 'process'
  /** Where there is isolation: MiB that the JavaScript heap may take; an attempt that takes more is ended. Default 512. */
  maxHeapMb?: number
  /**
   * Time that a handler has to stop after `ctx.signal` has aborted; then the task goes on without it. With {@link isolation} it
   * is ended; without, it keeps its slot until it ends. Default 1000.
   */
  graceMs?: number
  /** Raise it when a task that is half done must not go on with the new code: only workers of this revision take it. */
  handlerRevision?: string
}

/** {@link TaskOptions} with every default filled in. */
export type ResolvedTaskOptions = Required<
  Omit<TaskOptions, 'retryable' | 'handlerRevision' | 'concurrency' | 'isolation'>
> &
  Pick<TaskOptions, 'retryable' | 'handlerRevision' | 'concurrency' | 'isolation'>

const DAY_MS = 24 * 3_600_000
const DEFAULTS = {
  support: 'optional',
  start: 'immediate',
  maxAttempts: 3,
  maxBackoffMs: 60_000,
  maxCrashes: 3,
  onWorkerLost: 'retry',
  timeoutMs: 15 * 60_000,
  ttlMs: DAY_MS,
  retentionMs: DAY_MS,
  queue: 'default',
  priority: 1,
  maxHeapMb: 512,
  graceMs: 1_000,
} as const satisfies Omit<ResolvedTaskOptions, 'retryable' | 'handlerRevision' | 'concurrency' | 'isolation'>

const CHOICES: Readonly<Record<string, readonly string[]>> = {
  support: ['optional', 'required'],
  start: ['immediate', 'detach'],
  onWorkerLost: ['retry', 'fail'],
  isolation: ['thread', 'process'],
}
const WHOLE = ['maxAttempts', 'maxBackoffMs', 'timeoutMs', 'ttlMs', 'retentionMs', 'concurrency', 'graceMs']
/** Less, and Node itself does not fit. */
const LEAST_HEAP_MB = 16

/**
 * @param concurrency of the tool, which its attempts keep to where they have no bound of their own.
 * @throws {HoldfastError} `invalid_definition`
 */
export function resolveTaskOptions(
  options: TaskOptions | true,
  where: string,
  concurrency?: number,
): ResolvedTaskOptions {
  const defaults = { ...DEFAULTS, ...(concurrency === undefined ? {} : { concurrency }) }
  if (options === true) return defaults
  if (typeof options !== 'object' || options === null)
    invalid(where, `\`task\` is ${quote(options)}.`, 'Give it options, or `true` for the defaults.')
  const known = [...Object.keys(DEFAULTS), 'retryable', 'handlerRevision', 'concurrency', 'isolation']
  for (const [name, value] of Object.entries(options)) {
    const refuse = (expected: string): never =>
      invalid(where, `\`task.${name}\` is ${quote(value)}.`, `It must be ${expected}.`)
    if (value === undefined) continue
    if (!known.includes(name))
      invalid(where, `there is no field \`task.${name}\`.`, `The fields are ${known.join(', ')}.`)
    if (Object.hasOwn(CHOICES, name)) {
      if (!CHOICES[name]!.includes(value as string)) refuse(CHOICES[name]!.map((choice) => `"${choice}"`).join(' or '))
    } else if (WHOLE.includes(name)) {
      if (!Number.isSafeInteger(value) || (value as number) < 1) refuse('a whole number, 1 or more')
    } else if (name === 'maxCrashes') {
      if (!Number.isSafeInteger(value) || (value as number) < 0) refuse('a whole number, 0 or more')
    } else if (name === 'maxHeapMb') {
      if (!Number.isSafeInteger(value) || (value as number) < LEAST_HEAP_MB)
        refuse(`a whole number of MiB, ${LEAST_HEAP_MB} or more`)
      if (options.isolation === undefined)
        invalid(where, '`task.maxHeapMb` bounds nothing.', 'Only a tool with `task.isolation` has a heap of its own.')
    } else if (name === 'priority') {
      if (typeof value !== 'number' || !(value > 0) || value > 1000) refuse('a number above 0, at most 1000')
    } else if (name === 'queue') {
      if (typeof value !== 'string' || !/^[A-Za-z0-9_-]{1,40}$/.test(value))
        refuse('1 to 40 characters out of A-Z, a-z, 0-9, "_" and "-": brokers share no more')
    } else if (name === 'handlerRevision') {
      if (typeof value !== 'string' || value === '' || value.length > 64) refuse('a text of 1 to 64 characters')
    } else if (typeof value !== 'function') refuse('a function')
  }
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
  return { ...defaults, ...given }
}
