import { partitionOf, type CacheEntry } from '../cache/cache.ts'
import { anyCodec, type Codec } from '../cache/codec.ts'
import { optionsProblem, type CacheOptions } from '../define/cache.ts'
import { quote } from '../define/names.ts'
import { HoldfastError } from '../errors/holdfast-error.ts'
import type { Call } from './call.ts'
import { inCall } from './current-call.ts'
import { within } from './replay.ts'
import { SharedCall } from './shared-call.ts'

const NAME = /^[A-Za-z0-9_./:-]{1,64}$/

/** `ctx.cache`. */
export async function cached<T>(
  call: Call,
  name: string,
  key: unknown,
  compute: (signal: AbortSignal) => T | PromiseLike<T>,
  options: CacheOptions,
): Promise<T> {
  const what = `ctx.cache(${quote(name)})`
  const problem = problemOf(name, compute, options)
  if (problem !== undefined) throw new HoldfastError('invalid_cache', `${what}: ${problem}`)
  const { cache, telemetry } = call.services
  const run = (signal: AbortSignal): T | PromiseLike<T> =>
    inCall(new SharedCall(call, signal), () => within(what, () => compute(signal)))
  const codec = anyCodec as Codec<T>
  const partition = partitionOf(call.principal, options.scope)
  if (partition === undefined) {
    telemetry.cached(name, 'bypassed')
    // What it returns is the same, cached or not.
    return codec.decode(codec.encode(await run(call.signal)))
  }
  const entry: CacheEntry = { ...options, cache: name, key, partition }
  return (await cache.through(entry, run, codec, call)).value
}

function problemOf(name: unknown, compute: unknown, options: unknown): string | undefined {
  if (typeof name !== 'string' || !NAME.test(name))
    return 'the name must have 1 to 64 characters out of A-Z, a-z, 0-9, "_", ".", "/", ":" and "-": it is a label of metrics.'
  if (typeof compute !== 'function') return 'its third argument must be the function that computes the value.'
  if (typeof options !== 'object' || options === null) return 'its fourth argument must be options, at least { ttlMs }.'
  return optionsProblem(options as CacheOptions)
}
