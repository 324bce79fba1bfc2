import { AsyncLocalStorage } from 'node:async_hooks'
import type { Call } from './call.ts'

/**
 * The call that runs now, for what is made at module level and used within handlers: it finds the guards, the cache, the caller
 * and the signal there. Made when the first of them asks for it: a server without them pays nothing.
 */
let storage: AsyncLocalStorage<Call> | undefined

/** From now on calls can be found. Called when something is made that will ask for them. */
export function needCurrentCall(): void {
  storage ??= new AsyncLocalStorage()
}

/** The call that the caller runs in; `undefined` outside any handler. */
export function currentCall(): Call | undefined {
  return storage?.getStore()
}

/** Runs `fn` as part of the call. */
export function inCall<T>(call: Call, fn: () => T): T {
  return storage === undefined ? fn() : storage.run(call, fn)
}

/**
 * Runs `fn` as part of the call, but for its end: for what others wait for, too, after the call that began it.
 * @param signal what ends it, in place of the call's
 */
export function inSharedCall<T>(call: Call, signal: AbortSignal, fn: () => T): T {
  const { services, facts, principal, caller, requestId, operation, artifacts } = call
  const shared: Call = {
    services,
    facts,
    principal,
    caller,
    requestId,
    operation,
    artifacts,
    signal,
    isDone: false,
    onPutAside: undefined,
    log: (level, message, fields) => call.log(level, message, fields),
    progress: (done, total, message) => call.progress(done, total, message),
    closeStream: (retryMs) => call.closeStream(retryMs),
  }
  return inCall(shared, fn)
}
