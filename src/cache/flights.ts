import type { Clock } from '../ports/clock.ts'
import { Flight } from './flight.ts'

/** Ends waits; made once, since each would have a stack. */
const LANDED = new Error('The flight has landed.')

/** The flights of this process. */
export class Flights<T> {
  readonly #clock: Clock
  readonly #all = new Map<string, Flight<T>>()
  readonly #background = new Set<Flight<T>>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** One that may be joined. */
  get(key: string): Flight<T> | undefined {
    const flight = this.#all.get(key)
    return flight?.isAborted === true ? undefined : flight
  }

  /**
   * Begins a flight.
   * @param maxFlightMs after which it is overdue, from when it computes: what it waits for before has bounds of its own
   * @param run calls `onCompute` when it begins to compute
   */
  launch(
    key: string,
    { maxFlightMs, isBackground }: { maxFlightMs: number; isBackground: boolean },
    run: (signal: AbortSignal, onCompute: () => void) => Promise<T>,
  ): Flight<T> {
    const landed = new AbortController()
    const onCompute = (): void =>
      void this.#clock.sleep(maxFlightMs, landed.signal).then(
        () => flight.overdue(),
        () => undefined, // it landed in time
      )
    const flight = new Flight(async (signal: AbortSignal): Promise<T> => {
      await Promise.resolve() // who computes what this one computes must find it
      return run(signal, onCompute)
    }, isBackground)
    this.#all.set(key, flight)
    if (isBackground) this.#background.add(flight)
    void flight.ended.then(() => {
      landed.abort(LANDED)
      this.#background.delete(flight)
      this.forget(key, flight)
    })
    return flight
  }

  /** Nobody joins it any more. */
  forget(key: string, flight: Flight<T>): void {
    if (this.#all.get(key) === flight) this.#all.delete(key)
  }

  /** How many nobody waits for. */
  get backgroundCount(): number {
    return this.#background.size
  }

  /** Tells those that nobody waits for to stop. */
  abortBackground(reason: unknown): void {
    for (const flight of this.#background) flight.abort(reason)
  }
}
