import { HoldfastError, stateUnavailable, ToolError } from '../errors/holdfast-error.ts'
import { ERRORS } from '../errors/table.ts'
import type { OperationStart } from '../ports/telemetry.ts'
import type { Hold } from '../limits/admission.ts'
import { callerOf } from './caller.ts'
import type { Invocation, Outcome } from './invocation.ts'
import { DISCOVER, isAlwaysTaken, KNOWN_METHODS, takesSlot, type Method } from './methods.ts'
import { isPromise } from './protocol.ts'

/** Tells telemetry that an invocation starts. */
export function begin(invocation: Invocation): void {
  invocation.operation = invocation.services.telemetry.start(new Start(invocation))
}

/** Serves what another node has taken on, counted and charged, and does not serve any more. */
export function takeUp(invocation: Invocation, method: Method): void {
  begin(invocation)
  serve(invocation, method, false)
}

/** Serves an invocation with its method as soon as there is room for it, and answers; never throws. */
export function dispatch(invocation: Invocation, method: Method): void {
  begin(invocation)
  const { facts, exchange, services } = invocation
  const { admission } = services
  // What 2026-07-28 says in headers was looked at before the body.
  if (admission.isLate && facts.era === 'legacy' && exchange.head !== undefined && !isAlwaysTaken(facts.method)) {
    const error = admission.screenLoop(callerOf(exchange))
    if (error !== undefined) return invocation.fail(error)
  }
  let charging: undefined | Promise<void>
  try {
    charging = charge(invocation)
  } catch (error) {
    return invocation.fail(toWireError(invocation, error))
  }
  if (charging === undefined) return enqueue(invocation, method)
  charging.then(
    () => enqueue(invocation, method),
    (error: unknown) => invocation.fail(toWireError(invocation, error)),
  )
}

/** Serves it now, or when it is its turn. */
function enqueue(invocation: Invocation, method: Method): void {
  const { facts, exchange, services } = invocation
  const { admission } = services
  if (!takesSlot(facts.method)) return serve(invocation, method, false)
  const tool = toolOf(invocation)
  if (admission.hasRoom(tool)) return serve(invocation, method, true)
  let isWaiting = true
  const leave = admission.enqueue(
    { caller: callerOf(exchange), tool, bytes: exchange.bodyBytes ?? 0 },
    (hold) => {
      isWaiting = false
      invocation.leaveQueue = undefined
      serve(invocation, method, true, hold)
    },
    (error) => {
      isWaiting = false
      invocation.leaveQueue = undefined
      invocation.fail(error)
    },
  )
  if (isWaiting) invocation.queue(leave)
}

/**
 * Runs the method. A slot is given back when it has returned, and not before: a handler that goes on after its client has
 * left does the same work.
 *
 * @param hold the slot, where there was a wait for it. Else it is taken once the method turns out not to return at once:
 * what is over in no time needs none.
 */
function serve(invocation: Invocation, method: Method, takesSlot: boolean, hold?: Hold): void {
  let outcome: Outcome | PromiseLike<Outcome>
  try {
    outcome = method(invocation)
    if (!isPromise(outcome)) {
      invocation.succeed(outcome)
      return hold?.leave()
    }
  } catch (error) {
    invocation.fail(toWireError(invocation, error))
    return hold?.leave()
  }
  if (takesSlot) invocation.hold = hold ?? invocation.services.admission.hold(toolOf(invocation))
  invocation.wait()
  outcome.then(
    (done) => {
      try {
        invocation.succeed(done)
      } catch (error) {
        invocation.fail(toWireError(invocation, error))
      }
      invocation.hold?.leave()
    },
    (error: unknown) => {
      invocation.fail(toWireError(invocation, error))
      invocation.hold?.leave()
    },
  )
}

/**
 * Takes a request's cost from the limits, where that was not done before its body was read: on stdio, and for all but one
 * request of a batch. `server/discover` is free: a client takes an error in answer to it for a server of another era.
 */
export function charge({ services: { limits }, exchange, facts }: Invocation): undefined | Promise<void> {
  if (limits === undefined || facts.method === DISCOVER) return undefined
  if (exchange.isPrepaid !== true) return limits.chargeRequest(exchange)
  exchange.isPrepaid = false
  return undefined
}

/** The tool that is called, if one is. */
function toolOf({ facts: { method, params } }: Invocation): string | undefined {
  return method === 'tools/call' && typeof params.name === 'string' ? params.name : undefined
}

/** What a client may be told of an error; the rest goes to the log. */
export function toWireError(invocation: Invocation, error: unknown): HoldfastError {
  if (error instanceof HoldfastError && ERRORS[error.code].kind === 'wire') return error
  // Its message is meant for the client, wherever it is thrown; tools turn it into a result before it gets here.
  if (error instanceof ToolError) return new HoldfastError('internal_error', error.message)
  if (!invocation.isDone)
    invocation.services.telemetry.failure(invocation.operation, `The method ${invocation.facts.method} failed.`, error)
  if (error instanceof HoldfastError && error.code === 'backend_failed') return stateUnavailable()
  return new HoldfastError('internal_error', `The server failed (request ${invocation.requestId}).`)
}

/** What telemetry is told of an invocation; read lazily, most of it only where traces are on. */
class Start implements OperationStart {
  readonly #invocation: Invocation
  constructor(invocation: Invocation) {
    this.#invocation = invocation
  }
  get requestId(): string {
    return this.#invocation.requestId
  }
  get method(): string {
    const { method } = this.#invocation.facts
    return KNOWN_METHODS.has(method) ? method : '_unknown'
  }
  get tool(): string | undefined {
    return this.#target('tools/call', 'name', this.#invocation.services.catalog.tools)
  }
  get prompt(): string | undefined {
    return this.#target('prompts/get', 'name', this.#invocation.services.catalog.prompts)
  }
  #target(method: string, parameter: string, known: ReadonlyMap<string, unknown>): string | undefined {
    const { facts } = this.#invocation
    if (facts.method !== method) return undefined
    const name = facts.params[parameter]
    // A name that a client made up must not become a label: labels are kept for ever.
    return typeof name === 'string' && known.has(name) ? name : '_unknown'
  }
  get resourceUri(): string | undefined {
    const { method, params } = this.#invocation.facts
    return method.startsWith('resources/') && typeof params.uri === 'string' ? params.uri : undefined
  }
  get rpcId(): string | number {
    return this.#invocation.facts.rpcId
  }
  get protocolVersion(): string {
    return this.#invocation.facts.revision
  }
  get sessionId(): string | undefined {
    return this.#invocation.facts.session?.sid
  }
  get transport(): 'http' | 'stdio' | 'memory' {
    return this.#invocation.exchange.transport
  }
  get httpVersion(): string | undefined {
    return this.#invocation.exchange.httpVersion
  }
  get address(): string | undefined {
    return this.#invocation.exchange.address
  }
  get port(): number | undefined {
    return this.#invocation.exchange.port
  }
  get traceparent(): string | undefined {
    return this.#text('traceparent')
  }
  get tracestate(): string | undefined {
    return this.#text('tracestate')
  }
  get baggage(): string | undefined {
    return this.#text('baggage')
  }
  #text(key: string): string | undefined {
    const value = this.#invocation.facts.meta[key]
    return typeof value === 'string' ? value : undefined
  }
}
