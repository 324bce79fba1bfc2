import { HoldfastError } from '../errors/holdfast-error.ts'
import { nearest } from './nearest.ts'

/** How a worker works. */
export interface WorkerOptions {
  /** Tasks at once. Default 10. */
  concurrency?: number
  /** Queues that it serves. Default: those of the server's tools. */
  queues?: readonly string[]
  /** A task whose worker has been silent for so long goes to another. Default 30,000. */
  leaseMs?: number
  /** A worker whose event loop has stood still for so long is taken for dead; at least 500. Default 20,000. */
  hungAfterMs?: number
  /** How often it looks for tasks that no bell rang for. Default 2,000. */
  pollMs?: number
  /**
   * The module that exports the server by default, as a path or a URL (`import.meta.url` in it): tools with `isolation` are
   * loaded from it again. `holdfast serve` and `holdfast worker` know it.
   */
  definition?: string | URL
  /**
   * Called when handlers that ignore `ctx.signal` have held half of the slots for 10 seconds, and when the worker has drained
   * because the thread that keeps its leases has died: close the runtime, and start the process anew. `holdfast serve` and
   * `holdfast worker` end with the exit code 1 after an orderly close. Default: it is logged.
   */
  onStuck?: () => void
  /** Whether it runs the server's triggers, too. Default true. */
  triggers?: boolean
}

type Undefaulted = 'definition' | 'onStuck'
/** {@link WorkerOptions} with every default filled in. */
export type ResolvedWorkerOptions = Required<Omit<WorkerOptions, Undefaulted>> & Pick<WorkerOptions, Undefaulted>

const DEFAULTS: Omit<ResolvedWorkerOptions, 'queues'> = {
  concurrency: 10,
  leaseMs: 30_000,
  hungAfterMs: 20_000,
  pollMs: 2_000,
  triggers: true,
}

interface Rule {
  readonly isMet: (value: unknown) => boolean
  readonly expected: string
}
const wholeFrom = (least: number): Rule => ({
  isMet: (value) => Number.isSafeInteger(value) && (value as number) >= least,
  expected: `a whole number, ${least} or more`,
})
const isText = (value: unknown): boolean => typeof value === 'string' && value !== ''
const RULES: Readonly<Record<keyof WorkerOptions, Rule>> = {
  concurrency: wholeFrom(1),
  queues: {
    isMet: (value) => Array.isArray(value) && value.length > 0 && value.every(isText),
    expected: 'a list of queues, not empty',
  },
  leaseMs: wholeFrom(1),
  // The loop says ten times a second that it turns.
  hungAfterMs: wholeFrom(500),
  pollMs: wholeFrom(1),
  definition: { isMet: (value) => isText(value) || value instanceof URL, expected: 'a path or a URL' },
  onStuck: { isMet: (value) => typeof value === 'function', expected: 'a function' },
  triggers: { isMet: (value) => typeof value === 'boolean', expected: 'true or false' },
}

/**
 * Checks what can be checked without the server.
 * @throws {HoldfastError} `unknown_option`, `invalid_option`
 */
export function checkWorkerOptions(given: object): void {
  for (const [name, value] of Object.entries(given)) {
    const rule = Object.hasOwn(RULES, name) ? RULES[name as keyof WorkerOptions] : undefined
    if (rule === undefined)
      throw new HoldfastError(
        'unknown_option',
        `There is no option \`worker.${name}\`${nearest(name, Object.keys(RULES), ' Did you mean', '`')}`,
      )
    if (value !== undefined && !rule.isMet(value)) {
      const shown = typeof value === 'number' ? String(value) : JSON.stringify(value)
      throw new HoldfastError('invalid_option', `\`worker.${name}\` is ${shown}; it must be ${rule.expected}.`)
    }
  }
}

/**
 * Fills in the defaults.
 * @param queues of the server's tools.
 * @throws {HoldfastError} `unknown_option`, `invalid_option`
 */
export function resolveWorkerOptions(given: WorkerOptions, queues: readonly string[]): ResolvedWorkerOptions {
  checkWorkerOptions(given)
  const unknown = given.queues?.find((queue) => !queues.includes(queue))
  if (unknown !== undefined)
    throw new HoldfastError(
      'invalid_option',
      `No tool of this server uses the queue ${JSON.stringify(unknown)}; there are ${queues.join(', ')}.`,
    )
  const defined = Object.entries(given).filter(([, value]) => value !== undefined)
  return { ...DEFAULTS, queues, ...Object.fromEntries(defined) }
}
