import { resolveDependency, type Dependency, type DependencyOptions } from '../define/dependency.ts'
import { currentCall, needCurrentCall } from '../kernel/current-call.ts'
import { systemClock } from '../ports/clock.ts'
import { needCurrentAttempt } from './attempt.ts'
import { guardedFetch } from './fetch.ts'
import { Guards, type User } from './guards.ts'

/** What guards where no runtime does: code that runs outside of any call. There nothing tells dependencies apart by their names. */
const outsideCalls = new WeakMap<object, Guards>()

/** The guards of the runtime whose call this is, and the call; else those of the process. */
function here(dependency: object): { guards: Guards; user: User } {
  const call = currentCall()
  if (call !== undefined) return { guards: call.services.guards, user: call }
  let guards = outsideCalls.get(dependency)
  if (guards === undefined) {
    guards = new Guards({ clock: systemClock, telemetry: undefined })
    outsideCalls.set(dependency, guards)
  }
  return { guards, user: {} }
}

/**
 * Declares something outside: an API, a database, a model. Whatever is done with it by `ctx.use`, or by its `fetch`, is timed,
 * retried where that is safe, left alone while it is down, and bounded in number. Nothing is opened, and what a guard has learnt
 * belongs to the runtime, not to the definition.
 *
 * @example
 * const crm = defineDependency({ name: 'crm', timeoutMs: 2_000 })
 * const response = await crm.fetch('https://crm.example/customers/1')
 * const orders = await ctx.use(crm, (signal) => client.orders(customer, { signal }), { idempotent: true })
 * @throws {HoldfastError} `invalid_definition`
 * @see docs/resilience.md
 */
export function defineDependency<D = never>(options: DependencyOptions<D>): Dependency<D> {
  const resolved = resolveDependency(options)
  needCurrentCall()
  needCurrentAttempt()
  const dependency: Dependency<D> = Object.freeze<Dependency<D>>({
    ...resolved,
    use: (work, use = {}) => {
      const { guards, user } = here(dependency)
      return guards.use(dependency, work, use, user)
    },
    fetch: async (input, init) => {
      const { guards, user } = here(dependency)
      return guardedFetch(guards.of(dependency), input, init, user)
    },
  })
  return dependency
}
