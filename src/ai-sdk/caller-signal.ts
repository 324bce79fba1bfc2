import type { Call } from '../kernel/call.ts'

/** Who wants an answer of a model: no longer than the call that it is for. */
export function callerSignal(call: Call, params: { abortSignal?: AbortSignal }): AbortSignal
export function callerSignal(call: Call | undefined, params: { abortSignal?: AbortSignal }): AbortSignal | undefined
export function callerSignal(
  call: Call | undefined,
  { abortSignal }: { abortSignal?: AbortSignal },
): AbortSignal | undefined {
  if (call === undefined) return abortSignal
  return abortSignal === undefined ? call.signal : AbortSignal.any([call.signal, abortSignal])
}
