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
