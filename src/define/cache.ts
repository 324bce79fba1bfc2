import { checkFields, checkFunction, invalid, quote } from './names.ts'

/** How long a cached value is good for, and for whom. Times are milliseconds. */
export interface CacheOptions {
  /**
   * How long a value is fresh. Up to a tenth of it is taken off by chance, so that what was computed together does not expire
   * together.
   */
  ttlMs: number
  /**
   * How long after that it is still given out, while it is computed anew in the background. Also so long may a value be given out
   * after one of its tags was invalidated on another node; with 0, never. Default 0.
   */
  staleMs?: number
  /** How long after `ttlMs` the old value is given out where computing it anew has failed. Default 0. */
  staleIfErrorMs?: number
  /** How long a failure is kept: who asks meanwhile gets the same error. Default 0: failures are not kept. */
  negativeTtlMs?: number
  /**
   * Whose a value is: of the caller (`principal`), or everybody's (`public`), which is right only where it does not depend on who
   * calls. For anonymous callers, whom nobody can tell apart, nothing is cached that is not public. Default `principal`.
   */
  scope?: 'principal' | 'public'
  /** Names under which values can be invalidated: see {@link Context.invalidate}. */
  tags?: readonly string[]
  /** Change it where the same key stands for something new: values of another version are not seen. */
  version?: string
  /** How long a caller waits while another computes the value, on whichever node; then it computes itself. Default 30,000. */
  maxFlightMs?: number
}

/** {@link CacheOptions} of a whole tool; what they say of a value is said of a result. */
export interface ToolCacheOptions<Args> extends Omit<CacheOptions, 'tags'> {
  tags?: readonly string[] | ((args: Args) => readonly string[])
  /** What a result depends on. Default: the arguments, as they were sent. */
  key?: (args: Args) => unknown
}

/** {@link CacheOptions} of a resource. */
export interface ResourceCacheOptions extends Omit<CacheOptions, 'tags'> {
  tags?: readonly string[] | ((uri: string) => readonly string[])
}

/** A year: what is longer is a mistake. */
const LONGEST_MS = 366 * 24 * 3_600_000
const TIMES = ['ttlMs', 'staleMs', 'staleIfErrorMs', 'negativeTtlMs', 'maxFlightMs'] as const
const FIELDS = [...TIMES, 'scope', 'tags', 'version']

/** What is wrong with the times and the scope of a cache, in a sentence; `undefined`: nothing. */
export function cacheProblem(options: Partial<CacheOptions>): string | undefined {
  for (const name of TIMES) {
    const ms = options[name]
    if (ms === undefined && name !== 'ttlMs') continue
    const least = name === 'ttlMs' || name === 'maxFlightMs' ? 1 : 0
    if (typeof ms !== 'number' || !(ms >= least) || ms > LONGEST_MS)
      return `\`${name}\` is ${quote(ms)}; it must be a number of milliseconds, ${least} to ${LONGEST_MS}.`
  }
  const { scope, version } = options
  if (scope !== undefined && scope !== 'principal' && scope !== 'public')
    return `\`scope\` is ${quote(scope)}; it must be "principal" or "public".`
  if (version !== undefined && typeof version !== 'string')
    return `\`version\` is ${quote(version)}; it must be a text.`
  return undefined
}

/** {@link cacheProblem}, of options that are given as a whole: a misspelt one must not pass in silence. */
export function optionsProblem(options: CacheOptions): string | undefined {
  const unknown = Object.keys(options).find((name) => !FIELDS.includes(name))
  if (unknown !== undefined) return `there is no option \`${unknown}\`; there are ${FIELDS.join(', ')}.`
  return cacheProblem(options) ?? (options.tags === undefined ? undefined : tagsProblem(options.tags))
}

/** What is wrong with tags. */
export function tagsProblem(tags: unknown): string | undefined {
  if (Array.isArray(tags) && tags.length <= MAX_TAGS && tags.every((tag) => typeof tag === 'string' && tag !== ''))
    return undefined
  return `\`tags\` must be a list of at most ${MAX_TAGS} texts that are not empty.`
}
/** The generation of each is read wherever the value is. */
const MAX_TAGS = 100

/** @throws {HoldfastError} `invalid_definition` */
export function checkCache(where: string, cache: unknown, more: readonly string[]): void {
  if (cache === undefined) return
  if (typeof cache !== 'object' || cache === null)
    invalid(where, `\`cache\` is ${quote(cache)}.`, 'Give it an object, such as { ttlMs: 60_000 }.')
  const options = cache as Partial<ToolCacheOptions<never>>
  checkFields(`${where} \`cache\``, options, [...FIELDS, ...more])
  const { tags, key } = options
  const problem =
    cacheProblem(options as Partial<CacheOptions>) ??
    (tags === undefined || typeof tags === 'function' ? undefined : tagsProblem(tags))
  if (problem !== undefined) invalid(`${where} \`cache\``, problem, 'See docs/caching.md.')
  if (key !== undefined) checkFunction(where, 'cache.key', key)
}
