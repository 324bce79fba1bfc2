import { defineDependency, type Dependency, type DependencyOptions } from '../../src/index.ts'
import { Guards, type GuardsParts } from '../../src/resilience/guards.ts'
import { FakeClock } from '../../src/testing/index.ts'

/** What telemetry was told. */
export interface Told {
  readonly uses: { dependency: string; outcome: string; durationSeconds: number }[]
  readonly counts: string[]
  readonly breakers: string[]
  readonly failures: string[]
}

/** Guards whose time stands still, with what they tell. */
export function guardsAt(
  clock = new FakeClock(),
  parts: Partial<GuardsParts> = {},
): { guards: Guards; clock: FakeClock; told: Told } {
  const told: Told = { uses: [], counts: [], breakers: [], failures: [] }
  const guards = new Guards({
    clock,
    random: () => 0,
    telemetry: {
      startUse: () => undefined,
      count: (counter, label) => void told.counts.push(`${counter} ${label}`),
      dependencyUsed: (dependency, outcome, durationSeconds) =>
        void told.uses.push({ dependency, outcome, durationSeconds }),
      failure: (_operation, message) => void told.failures.push(message),
      breakerChanged: (dependency, state) => void told.breakers.push(`${dependency} ${state}`),
    },
    ...parts,
  })
  return { guards, clock, told }
}

/** A dependency that does nothing but what the test is about. */
export const plain = <D = never>(options: Partial<DependencyOptions<D>> = {}): Dependency<D> =>
  defineDependency<D>({ name: 'api', retry: false, breaker: false, bulkhead: false, ...options })

/** An error of the network. */
export const networkError = (code: string): Error => Object.assign(new Error(`It failed: ${code}`), { code })

/** What a promise has come to, without waiting for it. */
export function watch<T>(promise: Promise<T>): { value?: T; error?: unknown; isDone: boolean } {
  const seen: { value?: T; error?: unknown; isDone: boolean } = { isDone: false }
  promise.then(
    (value) => Object.assign(seen, { value, isDone: true }),
    (error: unknown) => Object.assign(seen, { error, isDone: true }),
  )
  return seen
}

/** Lets everything run that waits for nothing but its turn. */
export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
