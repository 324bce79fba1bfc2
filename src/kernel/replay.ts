import { AsyncLocalStorage } from 'node:async_hooks'
import type { ElicitUrlOptions } from '../define/ask.ts'
import type { Checked } from '../define/compile-schema.ts'
import { quote } from '../define/names.ts'
import { HoldfastError, stateUnavailable } from '../errors/holdfast-error.ts'
import { tellUrlComplete } from '../sessions/client-requests.ts'
import type { Invocation, Outcome } from './invocation.ts'
import { legKey } from './keys.ts'
import { isObject } from './protocol.ts'
import { checkNeeds, missingCapability, type ClientRequest, type Question } from './question.ts'
import { answersOf, openRequestState, sealRequestState, type Entry, type EntryKind, type Leg } from './request-state.ts'
import { canonical, sha256 } from './digest.ts'
import { keepForCall, runOnce } from './run-once.ts'

/** The methods that may be answered with `input_required` (MCP 2026-07-28, "Supported Requests"). */
const ASKING_METHODS: ReadonlySet<string> = new Set(['tools/call', 'prompts/get', 'resources/read'])
/** Steps and answers of one invocation. */
const MAX_ENTRIES = 1000
/** How often the same question is asked again in a 2025 session where its answers don't fit. */
const MAX_ASKS = 3
/** At 2026-07-28 a call waits so long for the user to be done with a page, before it asks again. */
const PAGE_WAIT_MS = 20_000
const PAGE_POLL_MS = 500

/** What runs as part of a step, or of the check of a page. */
const working = new AsyncLocalStorage<string>()

/** Never settles; garbage once nobody holds it. */
const never = <T>(): Promise<T> => new Promise<T>(() => undefined)

/**
 * The steps and questions of one invocation.
 *
 * 2025: a question is a request on the stream of the call, and the handler waits for its answer.
 * 2026: a question without an answer is pending. When all that runs has settled, the pending questions are sent together with
 * the sealed record, as `input_required`, and the handler is left: what it awaits never settles. The client's next request
 * runs it again from the top; what is on record is there at once.
 *
 * 1. A name is used once in an invocation, and means the same kind of thing each time.
 * 2. Nothing runs and nothing is asked after the invocation was put aside.
 * 3. While the handler has not yet come to something new, its logs and progress are those of the earlier run: not sent again.
 */
export class Replay {
  readonly #invocation: Invocation
  readonly #entries: Map<string, Entry>
  readonly #answers: Readonly<Record<string, unknown>>
  readonly #asked: ReadonlySet<string>
  readonly #used = new Set<string>()
  readonly #pending = new Map<string, ClientRequest>()
  /** What the earlier run had come to, and this one has not yet. */
  readonly #ahead: Set<string>
  #busy = 0
  #isScheduled = false
  #isPutAside = false
  #gotAnswer = false
  /** What the earlier legs had recorded; `undefined` in the first one. */
  readonly #recordedBefore: number | undefined
  /** This leg goes on with a call that was paid for: the first leg was, and the one before this got somewhere. */
  readonly isPaid: boolean
  /** The leg runs without a claim, since the store is down: nobody could tell a repeat of it. */
  isUnclaimed = false

  constructor(invocation: Invocation, leg?: Leg) {
    this.#invocation = invocation
    this.#entries = new Map(leg?.entries.map((entry) => [entry[0], entry]))
    this.#asked = new Set(leg?.asked)
    this.#recordedBefore = leg?.entries.length
    this.isPaid = leg !== undefined && !leg.isStalled
    this.#ahead = new Set([...this.#entries.keys(), ...this.#asked])
    this.#answers = invocation.facts.era === 'modern' ? answersOf(invocation) : {}
  }

  /** The handler runs again, and has not yet come to anything new. */
  get isReplaying(): boolean {
    return this.#ahead.size > 0
  }
  /** Something was asked, in this leg or an earlier one. */
  get hasAsked(): boolean {
    return this.#asked.size > 0 || this.#gotAnswer || this.#pending.size > 0
  }

  async step<T>(name: string, fn: () => T | PromiseLike<T>): Promise<T> {
    if (typeof fn !== 'function') throw new HoldfastError('invalid_ask', `ctx.step(${quote(name)}) needs a function.`)
    const recorded = this.#use('step', name)
    if (this.#isPutAside) return never()
    if (recorded !== undefined) return recorded[2] as T
    this.#ahead.clear()
    if (this.isUnclaimed) return this.#leave(Promise.reject(stateUnavailable()))
    return this.#work(async () => {
      const text = toJson(name, await working.run(`ctx.step(${quote(name)})`, fn))
      const value: unknown = text === undefined ? undefined : JSON.parse(text)
      this.#entries.set(name, text === undefined ? [name, 'step'] : [name, 'step', value])
      return value as T
    })
  }

  async ask<T>(question: Question): Promise<T> {
    const { facts } = this.#invocation
    const { name } = question
    const recorded = this.#use(question.kind, name)
    if (this.#isPutAside) return never()
    const request = this.#toRequest(question)
    if (facts.era === 'legacy') return this.#askNow(question, request)
    // What is on record may not fit any more: the form may have changed with a deploy.
    for (const answer of [recorded?.[2], this.#answerFor(name)]) {
      if (answer === undefined) continue
      const checked = await this.#work(async () => question.read(answer))
      if (checked.problem !== undefined) continue
      this.#entries.set(name, [name, question.kind, answer])
      return checked.value as T
    }
    return this.#suspendFor(name, request)
  }

  async askUrl(
    question: Question,
    { isComplete }: ElicitUrlOptions,
  ): Promise<{ action: 'accept' | 'decline' | 'cancel' }> {
    const { facts, services } = this.#invocation
    this.#use('url', question.name)
    if (this.#isPutAside) return never()
    const isDone = (): Promise<boolean> =>
      working.run(`the isComplete of ${quote(question.name)}`, async () => isComplete())
    if (await this.#work(isDone)) return { action: 'accept' }
    const request = this.#toRequest(question)
    if (facts.era === 'legacy') {
      const { id, answer } = await services.clientRequests.ask(this.#invocation, question.name, request)
      const action = actionOf(await question.read(answer))
      if (action !== 'accept') return { action }
      if (!(await this.#poll(isDone, services.options.questionTtlMs))) return { action: 'cancel' }
      tellUrlComplete(this.#invocation, id)
      return { action: 'accept' }
    }
    const answer = this.#answerFor(question.name)
    const checked = answer === undefined ? undefined : await this.#work(async () => question.read(answer))
    if (checked !== undefined && checked.problem === undefined) {
      const action = actionOf(checked)
      // Agreement to open the page is not on record: only what the page is for counts, and that is asked anew each time.
      if (action !== 'accept') return { action }
      if (await this.#work(() => this.#poll(isDone, PAGE_WAIT_MS))) return { action }
    }
    return this.#suspendFor(question.name, request)
  }

  /** The question in the words of this request's revision. */
  #toRequest({ needs, toRequest }: Question): ClientRequest {
    const { method, client, revision } = this.#invocation.facts
    if (!ASKING_METHODS.has(method))
      throw new HoldfastError(
        'invalid_ask',
        `A client can be asked while a tool is called, a prompt is got or a resource is read; not within ${method}.`,
      )
    checkNeeds(client, [needs])
    const request = toRequest(revision)
    if (request === undefined) throw missingCapability([needs], revision)
    return request
  }

  /** Marks a name as used; returns what is on record for it. */
  #use(kind: EntryKind, name: string): Entry | undefined {
    const what = `ctx.${kind === 'url' ? 'elicitUrl' : kind}(${quote(name)})`
    const within = kind === 'step' ? undefined : working.getStore()
    if (within !== undefined)
      throw new HoldfastError(
        'invalid_ask',
        `${what} stands within ${within}, which would have to run again for the answer. Ask first, and take the step with what was answered.`,
      )
    if (typeof name !== 'string' || name.length === 0 || name.length > 128)
      throw new HoldfastError('invalid_ask', `${what}: the name must be a text of 1 to 128 characters.`)
    if (this.#used.has(name))
      throw new HoldfastError(
        'invalid_ask',
        `${what}: the name is used twice in one call. A name finds its answer when the handler runs again: number it in loops (\`item-\${index}\`).`,
      )
    if (this.#used.size >= MAX_ENTRIES)
      throw new HoldfastError('invalid_ask', `${what}: one call may have ${MAX_ENTRIES} steps and questions.`)
    this.#used.add(name)
    this.#ahead.delete(name)
    const recorded = this.#entries.get(name)
    if (recorded !== undefined && recorded[1] !== kind)
      throw new HoldfastError(
        'replay_diverged',
        `${what}: the name stands for a ctx.${recorded[1]} of the earlier run. A handler must use the same names for the same things each time it runs.`,
      )
    return recorded
  }

  /** The client's answer that came with this request. */
  #answerFor(name: string): unknown {
    if (!Object.hasOwn(this.#answers, name)) return undefined
    this.#gotAnswer = true
    return this.#answers[name]
  }

  /** In a 2025 session: asks, and waits. */
  async #askNow<T>(question: Question, request: ClientRequest): Promise<T> {
    let problem = ''
    for (let asked = 0; asked < MAX_ASKS; asked++) {
      const { clientRequests } = this.#invocation.services
      const { answer } = await clientRequests.ask(this.#invocation, question.name, request)
      const checked = await question.read(answer)
      if (checked.problem === undefined) return checked.value as T
      problem = checked.problem
    }
    throw new HoldfastError(
      'client_refused',
      `The client's answer to ${quote(question.name)} does not fit: ${problem}.`,
    )
  }

  #suspendFor<T>(name: string, request: ClientRequest): Promise<T> {
    this.#ahead.clear()
    this.#pending.set(name, request)
    this.#schedule()
    return never()
  }

  async #work<T>(work: () => Promise<T>): Promise<T> {
    this.#busy++
    try {
      return await work()
    } finally {
      this.#busy--
      this.#schedule()
    }
  }

  async #poll(isComplete: () => Promise<boolean>, waitMs: number): Promise<boolean> {
    const { clock } = this.#invocation.services
    const deadlineMs = clock.monotonic() + waitMs
    while (!(await isComplete())) {
      if (clock.monotonic() >= deadlineMs) return false
      await clock.sleep(PAGE_POLL_MS, this.#invocation.signal)
    }
    return true
  }

  /** Once everything that runs has had its turn, what is pending is asked, all at once. */
  #schedule(): void {
    if (this.#isScheduled || this.#pending.size === 0 || this.#busy > 0 || this.#isPutAside) return
    this.#isScheduled = true
    setImmediate(() => {
      this.#isScheduled = false
      // Also where the client has gone: a repeat of this leg gets what it came to.
      if (this.#busy === 0 && !this.#isPutAside) void this.#leave(this.#toOutcome())
    })
  }

  /** Leaves the handler where it is. */
  #leave<T>(outcome: Promise<Outcome>): Promise<T> {
    this.#isPutAside = true
    this.#invocation.putAside(outcome)
    return never()
  }

  async #toOutcome(): Promise<Outcome> {
    const unused = [...this.#asked].filter((name) => Object.hasOwn(this.#answers, name) && !this.#used.has(name))
    if (unused.length > 0 && !this.#gotAnswer)
      throw new HoldfastError(
        'replay_diverged',
        `${quote(unused[0])} was answered, but the handler, run again, asks ${[...this.#pending.keys()].map(quote).join(', ')} instead. A handler must ask under the same names each time it runs.`,
      )
    const requestState = await sealRequestState(
      this.#invocation,
      [...this.#entries.values()],
      [...this.#pending.keys()],
      this.#entries.size === this.#recordedBefore,
    )
    const { telemetry } = this.#invocation.services
    for (const { method } of this.#pending.values()) telemetry.count('questions', method)
    const inputRequests = Object.fromEntries(this.#pending)
    return {
      members: `"inputRequests":${JSON.stringify(inputRequests)},"requestState":${JSON.stringify(requestState)}`,
      resultType: 'input_required',
    }
  }
}

const actionOf = (checked: Checked): 'accept' | 'decline' | 'cancel' =>
  checked.problem === undefined && isObject(checked.value) ? (checked.value.action as 'accept') : 'cancel'

function toJson(name: string, value: unknown): string | undefined {
  try {
    return JSON.stringify(value)
  } catch (cause) {
    throw new HoldfastError('invalid_ask', `ctx.step(${quote(name)}) returned what JSON can't say.`, { cause })
  }
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
  const hasSteps = leg.entries.some(([, kind]) => kind === 'step')
  const replay = (invocation.replay = new Replay(invocation, leg))
  invocation.callKey = leg.callKey
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
      replay.isUnclaimed = true
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
