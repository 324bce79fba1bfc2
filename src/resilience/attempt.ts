/*
 * One attempt at something outside.
 *
 * running ──(it ends)──▶ over
 *    ├──(its time is up, or the caller goes away)──▶ left: settled, its signal aborted, and still in its place until the work
 *    │      heeds that, for another `timeoutMs` at most
 *    └──(it ends, and keeps its place: the body of an answer is still to come)──▶ resting ⇄ reading ──(the rest is here)──▶ over
 *
 * 1. It settles once, whatever the work still does; and never rejects.
 * 2. Its place in the bulkhead is given back once: when nothing of it runs, or when it has had its time twice.
 * 3. The caller's signal is listened to exactly as long as there is something to abort.
 * 4. A body that nobody reads keeps its place for `timeoutMs`, not for ever: answers are thrown away unread.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { Clock } from '../ports/clock.ts'
import { isPromise } from '../kernel/protocol.ts'
import { cancelled, succeeded, type Settled } from './settled.ts'
import { Timed, type Timers } from './timers.ts'

/** What an attempt needs of its guard. */
export interface AttemptHost {
  readonly timers: Timers
  readonly clock: Clock
  readonly timeoutMs: number
  /** The place in the bulkhead is free again. */
  give(): void
  /** What an error of the work means. */
  classify(error: unknown): Settled<never>
  /** @param ms the time that is up */
  timedOut(ms: number): Settled<never>
  /** It was a success, and the rest of its answer did not come. */
  broke(settled: Settled<never>): void
}

let running: AsyncLocalStorage<Attempt> | undefined
/** From now on the attempt that runs can be found. */
export function needCurrentAttempt(): void {
  running ??= new AsyncLocalStorage()
}
/** The attempt that the caller runs in, if any. */
export const currentAttempt = (): Attempt | undefined => running?.getStore()

type Settle = (settled: Settled<never>) => void

export class Attempt extends Timed {
  readonly host: AttemptHost
  /** Counted from 1. */
  readonly number: number
  readonly #controller = new AbortController()
  readonly #caller: AbortSignal | undefined
  #stage: 'running' | 'left' | 'resting' | 'reading' | 'over' = 'running'
  #isInPlace = true
  #isKept = false
  /** Somebody waits for a piece. */
  #isReading = false
  /** Time that it has in its stage. */
  #ms = 0
  #settle: Settle | undefined
  /** What guards within it have given up on. */
  #givenUp: Set<unknown> | undefined

  constructor(host: AttemptHost, number: number, caller: AbortSignal | undefined) {
    super()
    this.host = host
    this.number = number
    this.#caller = caller
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }
  /** What is done within it is part of it. */
  get isRunning(): boolean {
    return this.#stage === 'running'
  }

  /** @param ms time that it has */
  run<T>(work: (attempt: Attempt) => T | PromiseLike<T>, ms: number): Promise<Settled<T>> {
    const { timers, clock } = this.host
    return new Promise((resolve) => {
      this.#settle = resolve as Settle
      this.#ms = ms
      timers.add(this, clock.monotonic() + ms)
      this.#caller?.addEventListener('abort', this)
      let value: T | PromiseLike<T>
      try {
        value = running === undefined ? work(this) : running.run(this, work, this)
      } catch (error) {
        return this.#end(this.#failed(error))
      }
      if (!isPromise(value)) return this.#end(succeeded(value) as Settled<never>)
      value.then(
        (result) => this.#end(succeeded(result) as Settled<never>),
        (error: unknown) => this.#end(this.#failed(error)),
      )
    })
  }

  /** A guard within it will not try again; then nobody does. */
  giveUp(error: unknown): void {
    this.#givenUp ??= new Set()
    this.#givenUp.add(error)
  }

  /** The work says: its place is not free when it has ended, but when {@link release} is called. */
  keep(): void {
    this.#isKept = true
  }

  /** Somebody waits for the next piece. */
  read(): void {
    this.#isReading = true
    if (this.#stage === 'resting') this.#stage = 'reading'
    if (this.#stage === 'reading') this.#watch()
  }

  /** It is here. */
  rest(): void {
    this.#isReading = false
    if (this.#stage === 'reading') this.#stage = 'resting'
  }

  /** What it kept its place for has ended. */
  release(error?: unknown): void {
    const isBroken = error !== undefined && (this.#stage === 'resting' || this.#stage === 'reading')
    this.#isKept = false
    if (this.#stage === 'running') return
    if (isBroken) this.host.broke(this.host.classify(error))
    this.#over()
  }

  /** The caller has gone away. */
  handleEvent(): void {
    const { reason } = this.#caller! as { reason: unknown }
    if (this.#stage === 'running') this.#leave(cancelled(this.#caller!))
    else this.#over()
    this.#controller.abort(reason)
  }

  onDue(): void {
    switch (this.#stage) {
      case 'running':
      case 'reading': {
        const settled = this.host.timedOut(this.#ms)
        if (this.#stage === 'running') this.#leave(settled)
        else {
          this.host.broke(settled)
          this.#over()
        }
        return this.#controller.abort(settled.error)
      }
      case 'left':
        return this.#over()
      default:
        return this.#free()
    }
  }

  #failed(error: unknown): Settled<never> {
    const settled = this.host.classify(error)
    return this.#givenUp?.has(error) === true ? { ...settled, isFinal: true } : settled
  }

  #watch(): void {
    const { timers, clock, timeoutMs } = this.host
    this.#ms = timeoutMs
    timers.add(this, clock.monotonic() + timeoutMs)
  }

  #leave(settled: Settled<never>): void {
    this.#stage = 'left'
    this.#caller?.removeEventListener('abort', this)
    this.#watch()
    this.#settle!(settled)
  }

  #end(settled: Settled<never>): void {
    if (this.#stage === 'left') return this.#over()
    if (this.#stage !== 'running') return // it has had its time twice
    if (this.#isKept) {
      this.#stage = this.#isReading ? 'reading' : 'resting'
      this.#watch()
    } else this.#over()
    this.#settle!(settled)
  }

  #over(): void {
    this.#stage = 'over'
    this.#caller?.removeEventListener('abort', this)
    this.host.timers.remove(this)
    this.#free()
  }

  #free(): void {
    if (!this.#isInPlace) return
    this.#isInPlace = false
    this.host.give()
  }
}
