import { partitionOf, type CacheEntry } from '../cache/cache.ts'
import { textOf, type Codec } from '../cache/codec.ts'
import { ARTIFACT_URI_PREFIX } from '../define/content.ts'
import type { ToolDefinition } from '../define/tool.ts'
import { ToolError } from '../errors/holdfast-error.ts'
import type { Call } from './call.ts'
import { canonical, sha256 } from './digest.ts'
import type { Invocation, Outcome } from './invocation.ts'
import { isPromise, type JsonObject } from './protocol.ts'
import { SharedCall } from './shared-call.ts'

/** Outcomes that others may wait for, but nobody may find later. */
const passing = new WeakSet<Outcome>()
/** Outcomes that the caller's answers have shaped. */
const personal = new WeakSet<Outcome>()

/** Results of tools. What is not the plain end of a call (questions, tasks) is for its own caller, and so are links to artifacts. */
const outcomeCodec: Codec<Outcome> = {
  isShareable: true,
  encode: ({ members, meta, isError }) =>
    Buffer.from(JSON.stringify([members.toString(), meta ?? null, isError === true])),
  decode(bytes) {
    const [members, meta, isError] = JSON.parse(textOf(bytes)) as [string, JsonObject | null, boolean]
    return { members, meta: meta ?? undefined, isError }
  },
  keepingOf(outcome) {
    const { members, isError, resultType } = outcome
    if ((resultType !== undefined && resultType !== 'complete') || personal.has(outcome)) return 'own'
    if (members.includes(ARTIFACT_URI_PREFIX)) return 'own'
    if (passing.has(outcome)) return 'shared'
    return isError === true ? 'failure' : 'value'
  },
}

/** What makes results of a tool other than before: of these its cache knows by itself. */
const shapes = new WeakMap<ToolDefinition, string>()
function shapeOf(tool: ToolDefinition): string {
  let shape = shapes.get(tool)
  if (shape === undefined) {
    shape = sha256([tool.cache!.version ?? '', canonical(tool.input.json), canonical(tool.output?.json ?? null)]).slice(
      0,
      22,
    )
    shapes.set(tool, shape)
  }
  return shape
}

/**
 * A call of a tool with `cache`: its result may be that of an earlier call.
 * @param run runs the handler, for a call that may be others' too
 * @param onThrown told what the handler throws
 */
export function callThroughCache(
  invocation: Invocation,
  tool: ToolDefinition,
  given: JsonObject,
  args: unknown,
  run: (call: Call, onThrown: (error: unknown, outcome: Outcome) => Outcome) => Outcome | PromiseLike<Outcome>,
): Outcome | PromiseLike<Outcome> {
  const { services, principal, facts } = invocation
  const options = tool.cache!
  const partition = partitionOf(principal, options.scope)
  const isAnswered = facts.params.requestState !== undefined || facts.params.inputResponses !== undefined
  const compute = (signal: AbortSignal | undefined): Outcome | PromiseLike<Outcome> => {
    const mark = (outcome: Outcome): Outcome => {
      if (invocation.replay?.hasAsked === true) personal.add(outcome)
      return outcome
    }
    // What a handler did not mean to tell says nothing of the next call.
    const call = signal === undefined ? invocation : new SharedCall(invocation, signal)
    const outcome = run(call, (error, failed) => {
      if (!(error instanceof ToolError)) passing.add(failed)
      return failed
    })
    return isPromise(outcome) ? outcome.then(mark) : mark(outcome)
  }
  if (partition === undefined || isAnswered) {
    services.telemetry.cached(tool.name, 'bypassed')
    return compute(undefined)
  }
  const key = options.key === undefined ? given : options.key(args as never)
  const tags = typeof options.tags === 'function' ? options.tags(args as never) : options.tags
  // Each hit makes one: member by member it costs less than a spread.
  const { ttlMs, staleMs, staleIfErrorMs, negativeTtlMs, maxFlightMs } = options
  const entry: CacheEntry = {
    cache: tool.name,
    key: [facts.revision, key],
    partition,
    ttlMs,
    staleMs,
    staleIfErrorMs,
    negativeTtlMs,
    tags,
    version: shapeOf(tool),
    maxFlightMs,
  }
  const found = services.cache.hit(entry, compute, outcomeCodec)
  if (found !== undefined) return found.value
  return services.cache.through(entry, compute, outcomeCodec, invocation).then(({ value }) => value)
}
