import { cacheFlightKey } from '../kernel/keys.ts'
import type { Clock } from '../ports/clock.ts'
import type { StateStore } from '../ports/state-store.ts'

/** A node that leads says so anew; one that is gone is missed after this time. */
const LEASE_MS = 5_000
const EXTENDED_EVERY_MS = LEASE_MS / 3
/** Followers look again by themselves, at times of their own, in case a bell was lost or the leader is gone. */
const FIRST_LOOK_MS = 100
const LONGEST_LOOK_MS = 1_000

/** How the wait for the lead of a flight ends. */
export type Lead<T> =
  /** This node leads, until it calls `end`, which may be called twice. */
  | { readonly kind: 'lead'; end(): Promise<void> }
  /** Another node has led, and here is the value. */
  | { readonly kind: 'found'; readonly value: T }
  /** The flight's time is over. */
  | { readonly kind: 'overdue' }

/** What {@link Leadership} works with. */
export interface LeadershipParts {
  readonly state: StateStore
  readonly clock: Clock
  /** Tells all nodes that a flight has ended. */
  readonly ring: (flight: string) => void
  /** The lease of a leader could not be extended. */
  readonly onError: (error: unknown) => void
}

/**
 * One node computes, the others wait. The lock is advice: two leaders are waste, and nothing else.
 *
 * A follower looks for the value, asks for the lead, waits for the bell or for a while, and again. The lead goes to another when
 * the leader has not extended its lease for {@link LEASE_MS}: it was killed, or stands still.
 */
export class Leadership {
  readonly #parts: LeadershipParts
  readonly #bells = new Map<string, Set<() => void>>()

  constructor(parts: LeadershipParts) {
    this.#parts = parts
  }

  /** A flight has ended, here or on another node. */
  hear(flight: string): void {
    for (const wake of Array.from(this.#bells.get(flight) ?? [])) wake()
  }

  /** Some bells may have been missed. */
  hearAll(): void {
    for (const flight of Array.from(this.#bells.keys())) this.hear(flight)
  }

  /**
   * Waits for the lead, or for the value.
   * @param look for the value in the store; `undefined`: it is not there
   * @param bound of the flight: when it is over, and how long a leader holds it
   * @param onWait called once, where another leads
   * @throws where the store can't be asked; the reason of `signal`
   */
  async take<T>(
    flight: string,
    look: () => Promise<T | undefined>,
    { untilMs, maxFlightMs }: { untilMs: number; maxFlightMs: number },
    signal: AbortSignal,
    onWait: () => void,
  ): Promise<Lead<T>> {
    const { state, clock } = this.#parts
    const lock = cacheFlightKey(flight)
    let pauseMs = FIRST_LOOK_MS
    // Who listens before it looks misses no bell.
    const bell = this.#listen(flight)
    try {
      for (;;) {
        const token = await state.acquire(lock, LEASE_MS)
        // Also by who has the lead now: the one before may have stored the value since it was looked for.
        const value = await look()
        const end = token === undefined ? undefined : this.#keep(flight, lock, token, maxFlightMs)
        if (value !== undefined) {
          void end?.()
          return { kind: 'found', value }
        }
        if (end !== undefined) return { kind: 'lead', end }
        if (pauseMs === FIRST_LOOK_MS) onWait()
        const leftMs = untilMs - clock.monotonic()
        if (leftMs <= 0) return { kind: 'overdue' }
        await bell.wait(Math.min(leftMs, pauseMs * (0.5 + Math.random())), signal)
        pauseMs = Math.min(LONGEST_LOOK_MS, pauseMs * 2)
      }
    } finally {
      bell.close()
    }
  }

  /** Extends the lease until the returned function is called, which gives the lead back and rings; or until the flight is overdue. */
  #keep(flight: string, lock: string, token: string, maxFlightMs: number): () => Promise<void> {
    const { state, clock, ring, onError } = this.#parts
    const ended = new AbortController()
    const untilMs = clock.monotonic() + maxFlightMs
    const extend = async (): Promise<void> => {
      while (clock.monotonic() < untilMs) {
        try {
          await clock.sleep(EXTENDED_EVERY_MS, ended.signal)
        } catch {
          return // ended
        }
        try {
          if (!(await state.extend(lock, token, LEASE_MS))) return // lost
        } catch (error) {
          onError(error) // the lease outlasts one that fails
        }
      }
    }
    const extending = extend()
    return async () => {
      if (ended.signal.aborted) return
      ended.abort()
      await extending
      await state.release(lock, token).catch(onError) // it goes by itself
      ring(flight)
    }
  }

  #listen(flight: string): { wait(ms: number, signal: AbortSignal): Promise<void>; close(): void } {
    const { clock } = this.#parts
    let rung = new AbortController()
    const wake = (): void => rung.abort()
    const bells = this.#bells.get(flight) ?? new Set()
    this.#bells.set(flight, bells.add(wake))
    return {
      async wait(ms, signal) {
        try {
          await clock.sleep(ms, AbortSignal.any([rung.signal, signal]))
        } catch {
          signal.throwIfAborted()
        }
        rung = new AbortController()
      },
      close: () => {
        bells.delete(wake)
        if (bells.size === 0 && this.#bells.get(flight) === bells) this.#bells.delete(flight)
      },
    }
  }
}
