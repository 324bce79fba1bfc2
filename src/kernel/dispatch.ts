import { HoldfastError, ToolError } from '../errors/holdfast-error.ts'
import { ERRORS } from '../errors/table.ts'
import type { OperationStart } from '../ports/telemetry.ts'
import type { Invocation, Outcome } from './invocation.ts'
import { DISCOVER, KNOWN_METHODS, type Method } from './methods.ts'
import { isPromise } from './protocol.ts'

/** Tells telemetry that an invocation starts. */
export function begin(invocation: Invocation): void {
  invocation.operation = invocation.services.telemetry.start(new Start(invocation))
}

/** Serves an invocation with its method, and answers; never throws. */
export function dispatch(invocation: Invocation, method: Method): void {
  const { services } = invocation
  begin(invocation)
  const { maxConcurrentRequests } = services.options
  let outcome: Outcome | PromiseLike<Outcome>
  try {
    if (services.running.size >= maxConcurrentRequests)
      throw new HoldfastError('overloaded', `The node has ${maxConcurrentRequests} requests in flight.`, {
        data: { retryAfterMs: 1000 },
      })
    const charging = charge(invocation)
    outcome = charging === undefined ? method(invocation) : charging.then(() => method(invocation))
    if (!isPromise(outcome)) return invocation.succeed(outcome)
  } catch (error) {
    return invocation.fail(toWireError(invocation, error))
  }
  invocation.wait()
  outcome.then(
    (done) => {
      try {
        invocation.succeed(done)
      } catch (error) {
        invocation.fail(toWireError(invocation, error))
      }
    },
    (error: unknown) => invocation.fail(toWireError(invocation, error)),
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

/** What a client may be told of an error; the rest goes to the log. */
export function toWireError(invocation: Invocation, error: unknown): HoldfastError {
  if (error instanceof HoldfastError && ERRORS[error.code].kind === 'wire') return error
  // Its message is meant for the client, wherever it is thrown; tools turn it into a result before it gets here.
  if (error instanceof ToolError) return new HoldfastError('internal_error', error.message)
  if (!invocation.isDone)
    invocation.services.telemetry.failure(invocation.operation, `The method ${invocation.facts.method} failed.`, error)
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
