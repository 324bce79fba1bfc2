import type { Dependency, UseOptions, Work } from '../define/dependency.ts'
import { invalid, quote } from '../define/names.ts'
import type { Clock } from '../ports/clock.ts'
import type { Operation, Telemetry } from '../ports/telemetry.ts'
import type { BreakerChange, BreakerState } from './breaker.ts'
import { Guard } from './guard.ts'
import type { BreakerHints } from './hints.ts'

/** How a dependency is, on this node. */
export interface DependencyState {
  readonly name: string
  /** `undefined`: it has no breaker. */
  readonly breaker: BreakerState | undefined
  /** Attempts that are under way; 0 where it has no bulkhead. */
  readonly running: number
  /** Attempts that wait for a place. */
  readonly queued: number
  /** Other nodes that have found it down, and have said so lately. */
  readonly hints: number
}

/** What guards work with. */
export interface GuardsParts {
  readonly clock: Clock
  readonly telemetry:
    Pick<Telemetry, 'count' | 'dependencyUsed' | 'startUse' | 'breakerChanged' | 'failure'> | undefined
  /** From 0 up to, not including, 1. Default `Math.random`. */
  readonly random?: () => number
  /** What other nodes have found. Default: this one is alone. */
  readonly hints?: Pick<BreakerHints, 'tell' | 'count' | 'isWarned'> | undefined
}

/** Who uses a dependency. */
export interface User {
  readonly operation?: Operation | undefined
  readonly signal?: AbortSignal | undefined
}

/** The guards of a runtime: one for each dependency that it has used, made on first use. */
export class Guards {
  readonly #parts: GuardsParts
  readonly #guards = new Map<string, Guard>()
  readonly #listeners = new Set<(state: DependencyState) => void>()

  constructor(parts: GuardsParts) {
    this.#parts = parts
  }

  /**
   * The guard of a dependency.
   * @throws {HoldfastError} `invalid_definition` where another dependency of the same name is guarded already
   */
  of<D>(dependency: Dependency<D>): Guard {
    const { name } = dependency
    const known = this.#guards.get(name)
    if (known?.dependency === dependency) return known
    if (known !== undefined)
      invalid(
        `defineDependency(${quote(name)})`,
        'two dependencies have this name.',
        'Define it once, in a module that both places import; or give one another name.',
      )
    const { clock, telemetry, random = Math.random, hints } = this.#parts
    const guard = new Guard(dependency, {
      clock,
      telemetry,
      random,
      isWarned: () => hints?.isWarned(name) === true,
      onBreaker: (change) => this.#breakerChanged(guard, change),
    })
    this.#guards.set(name, guard)
    return guard
  }

  /** Uses a dependency. */
  use<T, D, F>(dependency: Dependency<D>, work: Work<T>, options: UseOptions<F>, user: User): Promise<T | D | F> {
    const { operation, signal } = user
    const use = { ...options, operation, signal: eitherSignal(signal, options.signal) }
    return this.of(dependency).run<T, D | F>(
      (attempt) => work(attempt.signal, attempt.number),
      use as UseOptions<D | F>,
    )
  }

  list(): readonly DependencyState[] {
    return Array.from(this.#guards.values(), (guard) => this.#stateOf(guard))
  }

  /** Calls `listener` whenever the breaker of a dependency changes; the returned function ends that. */
  subscribe(listener: (state: DependencyState) => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  #breakerChanged(guard: Guard, { from, to, openMs }: BreakerChange): void {
    const { telemetry, hints } = this.#parts
    const { name } = guard.dependency
    telemetry?.breakerChanged(name, to)
    if (from === 'closed') telemetry?.count('breaker_openings', name)
    // Of a probe that nothing was learnt from nobody needs to hear.
    if (to === 'open' && openMs > 0) hints?.tell(name, openMs)
    for (const listener of this.#listeners)
      try {
        listener(this.#stateOf(guard))
      } catch (error) {
        telemetry?.failure(undefined, `A subscriber of \`runtime.dependencies\` failed on ${name}.`, error)
      }
  }

  #stateOf({ dependency: { name }, breakerState, running, queued }: Guard): DependencyState {
    return { name, breaker: breakerState, running, queued, hints: this.#parts.hints?.count(name) ?? 0 }
  }
}

/** Aborts when either does. */
export function eitherSignal(
  one: AbortSignal | null | undefined,
  other: AbortSignal | null | undefined,
): AbortSignal | undefined {
  if (!one || one === other) return other ?? undefined
  return other ? AbortSignal.any([one, other]) : one
}
