import type { Context } from '../define/context.ts'
import { HoldfastError, stateUnavailable } from '../errors/holdfast-error.ts'
import { tellUrlComplete } from '../sessions/client-requests.ts'
import type { Call } from './call.ts'
import { HandlerContext } from './context.ts'
import { canonical, sha256 } from './digest.ts'
import { toInputRequired } from './input-required.ts'
import type { Invocation, Outcome } from './invocation.ts'
import { legKey } from './keys.ts'
import type { ClientRequest } from './question.ts'
import { isOwnName, Replay } from './replay.ts'
import type { ReplayHost, Suspension } from './replay-host.ts'
import { answersOf, openRequestState, sealRequestState, type Entry, type Leg } from './request-state.ts'
import { keepForCall, runOnce } from './run-once.ts'
import { detachCall } from './call-task.ts'

/** The methods that may be answered with `input_required` (MCP 2026-07-28, "Supported Requests"). */
const ASKING_METHODS: ReadonlySet<string> = new Set(['tools/call', 'prompts/get', 'resources/read'])
/** At 2026-07-28 a call waits so long for the user to be done with a page, before it asks again. */
const PAGE_WAIT_MS = 20_000

/** What runs in a request gets what it lacks from the request's client. */
class RequestHost implements ReplayHost {
  readonly #invocation: Invocation
  readonly #answers: Readonly<Record<string, unknown>>
  readonly #isFirstLeg: boolean
  readonly entries: readonly Entry[]
  readonly asked: readonly string[]
  readonly askNow: ReplayHost['askNow']
  readonly longestWaitMs = undefined
  readonly pageWaitMs = PAGE_WAIT_MS
  /** The leg runs without a claim, since the store is down: nobody could tell a repeat of it. */
  isUnclaimed = false

  constructor(invocation: Invocation, leg?: Leg) {
    this.#invocation = invocation
    this.#isFirstLeg = leg === undefined
    this.entries = leg?.entries ?? []
    this.asked = leg?.asked ?? []
    const isModern = invocation.facts.era === 'modern'
    this.#answers = isModern ? answersOf(invocation) : {}
    this.askNow = isModern
      ? undefined
      : (name: string, request: ClientRequest) => invocation.services.clientRequests.ask(invocation, name, request)
  }
  get clock(): ReplayHost['clock'] {
    return this.#invocation.services.clock
  }
  get signal(): AbortSignal {
    return this.#invocation.signal
  }
  get client(): ReplayHost['client'] {
    return this.#invocation.facts.client
  }
  get revision(): string {
    return this.#invocation.facts.revision
  }
  get idempotencyKey(): string | undefined {
    return this.#invocation.callKey === undefined ? undefined : sha256(['call', this.#invocation.callKey[0]])
  }
  get questionTtlMs(): number {
    return this.#invocation.services.options.questionTtlMs
  }
  get canDetach(): boolean {
    return this.#invocation.detachable !== undefined
  }
  get answered(): readonly string[] {
    return this.asked.filter((name) => Object.hasOwn(this.#answers, name))
  }

  checkCanAsk(): void {
    const { method } = this.#invocation.facts
    if (!ASKING_METHODS.has(method))
      throw new HoldfastError(
        'invalid_ask',
        `A client can be asked while a tool is called, a prompt is got or a resource is read; not within ${method}.`,
      )
  }
  answersTo(name: string): readonly unknown[] {
    return Object.hasOwn(this.#answers, name) ? [this.#answers[name]] : []
  }
  tellComplete(id: string): void {
    tellUrlComplete(this.#invocation, id)
  }
  admitStep(): boolean {
    if (this.isUnclaimed) this.#invocation.putAside(Promise.reject(stateUnavailable()))
    return !this.isUnclaimed
  }
  suspend(suspension: Suspension): void {
    this.#invocation.putAside(this.#toOutcome(suspension))
  }

  async #toOutcome({ asks, entries, isStalled, isDetached, problem }: Suspension): Promise<Outcome> {
    const invocation = this.#invocation
    if (problem !== undefined) throw problem
    if (isDetached) return detachCall(invocation, entries)
    const isStalledLeg = isStalled && !this.#isFirstLeg
    const requestState = await sealRequestState(invocation, entries, [...asks.keys()], isStalledLeg)
    return toInputRequired(invocation, new Map([...asks].map(([name, { request }]) => [name, request])), requestState)
  }
}

/** What a handler that runs in a request gets. @param call takes the request's place, where others wait for it too */
export function contextOf(invocation: Invocation, call: Call = invocation): Context {
  return new HandlerContext(call, () => (invocation.replay ??= new Replay(new RequestHost(invocation))))
}

/**
 * Runs what a request asks for, on from where its `requestState` says; and lets it be put aside.
 * @throws {HoldfastError} for a `requestState` that is not for this request; see {@link openRequestState}.
 */
export function replayable(
  invocation: Invocation,
  run: () => Outcome | PromiseLike<Outcome>,
): Outcome | PromiseLike<Outcome> {
  const { era, params } = invocation.facts
  // In the 2025 revisions these are no fields of a request.
  if (era === 'legacy') return run()
  if (params.requestState === undefined) {
    answersOf(invocation) // refuses what are no answers before anything runs
    return run()
  }
  return continueLeg(invocation, run)
}

async function continueLeg(invocation: Invocation, run: () => Outcome | PromiseLike<Outcome>): Promise<Outcome> {
  const { services, facts } = invocation
  const leg = await openRequestState(invocation, facts.params.requestState)
  const hasSteps = leg.entries.some(([name, kind]) => kind === 'step' && !isOwnName(name))
  invocation.callKey = leg.callKey
  invocation.record = leg.entries
  // The first leg was paid for. One that got nowhere makes the next a call like the first.
  invocation.isPaid = !leg.isStalled
  const host = new RequestHost(invocation, leg)
  invocation.replay = new Replay(host)
  const once = {
    key: legKey(leg.id),
    kind: 'request_state' as const,
    digest: sha256([canonical(answersOf(invocation))]),
    keepMs: () => Math.max(1, leg.expiresMs - services.clock.now()),
    onOther: () =>
      new HoldfastError(
        'request_state_used',
        'This `requestState` was used with other answers. Go on from the newest one, or call again without it.',
      ),
    onStoreLost: () => {
      // Without the store nobody can tell a repeat. Questions may be answered twice; a step must not be taken twice.
      if (hasSteps) return stateUnavailable()
      services.telemetry.count('degraded', 'request_state')
      host.isUnclaimed = true
      return undefined
    },
  }
  const outcome = await runOnce(invocation, once, run)
  if (leg.callKey !== undefined) await keepForCall(invocation, leg.callKey, outcome)
  return outcome
}

/** Whether a handler's work may be put aside: its outcome is then what it is put aside with. */
export function suspendable(invocation: Invocation, work: PromiseLike<Outcome>): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    invocation.onPutAside = resolve
    work.then(resolve, reject)
  })
}
