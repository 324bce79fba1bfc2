import { AsyncLocalStorage } from 'node:async_hooks'
import { randomUUID } from 'node:crypto'
import type { ElicitUrlOptions } from '../define/ask.ts'
import type { Checked } from '../define/compile-schema.ts'
import { quote } from '../define/names.ts'
import { HoldfastError } from '../errors/holdfast-error.ts'
import { isObject } from './protocol.ts'
import { checkNeeds, missingCapability, type ClientRequest, type Question } from './question.ts'
import { NoAnswer, type Ask, type ReplayHost } from './replay-host.ts'
import type { Entry, EntryKind } from './request-state.ts'

/** Steps and answers of one invocation. */
const MAX_ENTRIES = 1000
/** How often the same question is asked again in a 2025 session where its answers don't fit. */
const MAX_ASKS = 3
/** How often it is looked whether the user is done with a page: in place, and by a task that is suspended meanwhile. */
const PAGE_POLL_MS = 500
const PAGE_LOOK_MS = 5_000
/** A year: what is longer is a mistake. */
const LONGEST_SLEEP_MS = 366 * 24 * 3_600_000
/** Names that begin with it are our own. */
const OWN = '~'
/** What a handler can give to the outside, so that the same thing done twice is known. */
const KEY_ENTRY = `${OWN}key`

/** Whether a name on record is one that no handler gave. */
export const isOwnName = (name: string): boolean => name.includes(OWN)

/** What runs as part of a step, or of the check of a page. */
const working = new AsyncLocalStorage<string>()

/** Runs what may take no questions: it may run for others too, or not at all. */
export const within = <T>(what: string, fn: () => T): T => working.run(what, fn)

/** Never settles; garbage once nobody holds it. */
export const never = <T>(): Promise<T> => new Promise<T>(() => undefined)

/**
 * The steps and questions of one run of a handler.
 *
 * In a 2025 session a question is a request on the stream of the call, and the handler waits for its answer. Elsewhere a
 * question without an answer is pending: when all that runs has settled, the run is suspended with all pending questions, and
 * what the handler awaits never settles. With the answers the handler runs again from the top; what is on record is there at
 * once. A task is suspended for a time in the same way.
 *
 * 1. A name is used once in an invocation, and means the same kind of thing each time.
 * 2. Nothing runs and nothing is asked after the run was suspended.
 * 3. While the handler has not yet come to something new, its logs and progress are those of the earlier run: not sent again.
 */
export class Replay {
  readonly #host: ReplayHost
  readonly #entries: Map<string, Entry>
  readonly #used = new Set<string>()
  readonly #pending = new Map<string, Ask>()
  /** What the earlier run had come to, and this one has not yet. */
  readonly #ahead: Set<string>
  #wakeAtMs: number | undefined
  #isDetaching = false
  #busy = 0
  #isScheduled = false
  #isPutAside = false
  #gotAnswer = false
  #hasAskedNow = false

  constructor(host: ReplayHost) {
    this.#host = host
    this.#entries = new Map(host.entries.map((entry) => [entry[0], entry]))
    this.#ahead = new Set([...this.#entries.keys(), ...host.asked].filter((name) => !name.includes(OWN)))
  }

  /** The handler runs again, and has not yet come to anything new. */
  get isReplaying(): boolean {
    return this.#ahead.size > 0
  }
  /** Something was asked, in this run or an earlier one. */
  get hasAsked(): boolean {
    return this.#host.asked.length > 0 || this.#gotAnswer || this.#hasAskedNow || this.#pending.size > 0
  }

  get idempotencyKey(): string {
    const recorded = this.#entries.get(KEY_ENTRY)?.[2] as string | undefined
    const key = recorded ?? this.#host.idempotencyKey ?? randomUUID()
    if (recorded === undefined) this.#entries.set(KEY_ENTRY, [KEY_ENTRY, 'step', key])
    return key
  }

  async step<T>(name: string, fn: () => T | PromiseLike<T>): Promise<T> {
    if (typeof fn !== 'function') throw new HoldfastError('invalid_ask', `ctx.step(${quote(name)}) needs a function.`)
    const recorded = this.#use('step', name)
    if (this.#isPutAside) return never()
    if (recorded !== undefined) return recorded[2] as T
    this.#ahead.clear()
    if (this.#host.admitStep?.() === false) return this.#leave()
    return this.#work(async () => {
      const text = toJson(name, await working.run(`ctx.step(${quote(name)})`, fn))
      const value: unknown = text === undefined ? undefined : JSON.parse(text)
      const entry: Entry = text === undefined ? [name, 'step'] : [name, 'step', value]
      return (await this.#record(entry)) ? (value as T) : this.#leave<T>()
    })
  }

  /** Waits until `durationMs` after it was first come to. */
  async sleep(name: string, durationMs: number): Promise<void> {
    if (typeof durationMs !== 'number' || !(durationMs >= 0) || durationMs > LONGEST_SLEEP_MS)
      throw new HoldfastError(
        'invalid_ask',
        `ctx.sleep(${quote(name)}) needs a time in milliseconds, 0 to ${LONGEST_SLEEP_MS}; it got ${quote(durationMs)}.`,
      )
    const recorded = this.#use('sleep', name)
    if (this.#isPutAside) return never()
    const { clock } = this.#host
    const untilMs = (recorded?.[2] as number | undefined) ?? clock.now() + durationMs
    if (recorded === undefined) {
      this.#ahead.clear()
      if (!(await this.#work(() => this.#record([name, 'sleep', untilMs])))) return this.#leave()
    }
    return this.#waitUntil(untilMs)
  }

  async ask<T>(question: Question): Promise<T> {
    const { name, kind } = question
    const recorded = this.#use(kind, name)
    if (this.#isPutAside) return never()
    const request = this.#toRequest(question)
    if (this.#host.askNow !== undefined) return this.#askNow(question, request)
    // What is on record may not fit any more: the form may have changed with a deploy.
    for (const answer of [recorded?.[2], ...this.#answersTo(name)]) {
      if (answer === undefined) continue
      if (answer instanceof NoAnswer) return withoutAnswer(question, answer) as T
      const checked = await this.#work(async () => question.read(answer))
      if (checked.problem !== undefined) continue
      this.#entries.set(name, [name, kind, answer])
      return checked.value as T
    }
    return this.#suspendFor(name, { kind, request })
  }

  async askUrl(
    question: Question,
    { isComplete }: ElicitUrlOptions,
  ): Promise<{ action: 'accept' | 'decline' | 'cancel' }> {
    const { name } = question
    const { questionTtlMs, pageWaitMs, askNow, clock } = this.#host
    this.#use('url', name)
    if (this.#isPutAside) return never()
    const isDone = (): Promise<boolean> => working.run(`the isComplete of ${quote(name)}`, async () => isComplete())
    if (await this.#work(isDone)) return { action: 'accept' }
    const request = this.#toRequest(question)
    if (askNow !== undefined) {
      this.#hasAskedNow = true
      const { id, answer } = await askNow(name, request)
      const action = actionOf(await question.read(answer))
      if (action !== 'accept') return { action }
      if (!(await this.#poll(isDone, questionTtlMs))) return { action: 'cancel' }
      this.#host.tellComplete?.(id)
      return { action: 'accept' }
    }
    const answer = this.#answersTo(name).at(-1)
    if (answer instanceof NoAnswer) return { action: 'cancel' }
    const checked = answer === undefined ? undefined : await this.#work(async () => question.read(answer))
    if (checked !== undefined && checked.problem === undefined) {
      const action = actionOf(checked)
      // Agreement to open the page is not on record: only what the page is for counts, and that is asked anew each time.
      if (action !== 'accept') return { action }
      if (await this.#work(() => this.#poll(isDone, pageWaitMs))) return { action }
      const { longestWaitMs } = this.#host
      if (longestWaitMs !== undefined) {
        // A task looks again from time to time, until nobody can be at the page any more.
        const until = `${name}${OWN}until`
        const untilMs = (this.#entries.get(until)?.[2] as number | undefined) ?? clock.now() + questionTtlMs
        if (!this.#entries.has(until) && !(await this.#record([until, 'sleep', untilMs]))) return this.#leave()
        if (clock.now() >= untilMs) return { action: 'cancel' }
        return this.#wake(clock.now() + PAGE_LOOK_MS)
      }
    }
    return this.#suspendFor(name, { kind: 'url', request })
  }

  /** The rest of the call is a task. */
  async detach(): Promise<void> {
    const within = working.getStore()
    if (within !== undefined)
      throw new HoldfastError('invalid_ask', `ctx.detach() stands within ${within}, which would have to run again.`)
    if (!this.#host.canDetach) return
    if (this.#isPutAside) return never()
    this.#ahead.clear()
    this.#isDetaching = true
    this.#schedule()
    return never()
  }

  /** The question in the words of this request's revision. */
  #toRequest({ needs, toRequest }: Question): ClientRequest {
    const { client, revision } = this.#host
    this.#host.checkCanAsk()
    checkNeeds(client, [needs])
    const request = toRequest(revision)
    if (request === undefined) throw missingCapability([needs], revision)
    return request
  }

  /** Marks a name as used; returns what is on record for it. */
  #use(kind: EntryKind, name: string): Entry | undefined {
    const what = `ctx.${METHOD_OF[kind] ?? kind}(${quote(name)})`
    const within = kind === 'step' ? undefined : working.getStore()
    if (within !== undefined)
      throw new HoldfastError(
        'invalid_ask',
        `${what} stands within ${within}, which would have to run again for the answer. Ask first, and take the step with what was answered.`,
      )
    if (typeof name !== 'string' || name.length === 0 || name.length > 128 || name.includes(OWN))
      throw new HoldfastError(
        'invalid_ask',
        `${what}: the name must be a text of 1 to 128 characters, without "${OWN}".`,
      )
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
        `${what}: the name stands for a ctx.${METHOD_OF[recorded[1]] ?? recorded[1]} of the earlier run. A handler must use the same names for the same things each time it runs.`,
      )
    return recorded
  }

  #answersTo(name: string): readonly unknown[] {
    const answers = this.#host.answersTo(name)
    if (answers.length > 0) this.#gotAnswer = true
    return answers
  }

  /** In a 2025 session: asks, and waits. */
  async #askNow<T>(question: Question, request: ClientRequest): Promise<T> {
    let problem = ''
    this.#hasAskedNow = true
    for (let asked = 0; asked < MAX_ASKS; asked++) {
      const { answer } = await this.#host.askNow!(question.name, request)
      const checked = await question.read(answer)
      if (checked.problem === undefined) return checked.value as T
      problem = checked.problem
    }
    throw new HoldfastError(
      'client_refused',
      `The client's answer to ${quote(question.name)} does not fit: ${problem}.`,
    )
  }

  /** Puts an entry on record; `false`: the run is over. */
  async #record(entry: Entry): Promise<boolean> {
    if (this.#host.record !== undefined && !(await this.#host.record(entry))) return false
    this.#entries.set(entry[0], entry)
    return true
  }

  #suspendFor<T>(name: string, ask: Ask): Promise<T> {
    this.#ahead.clear()
    this.#pending.set(name, ask)
    this.#schedule()
    return never()
  }

  #wake<T>(atMs: number): Promise<T> {
    this.#wakeAtMs = Math.min(this.#wakeAtMs ?? Infinity, atMs)
    this.#schedule()
    return never()
  }

  async #waitUntil(untilMs: number): Promise<void> {
    const { clock, longestWaitMs = Infinity, signal } = this.#host
    const leftMs = untilMs - clock.now()
    if (leftMs <= 0) return
    if (leftMs > longestWaitMs) return this.#wake(untilMs)
    await clock.sleep(leftMs, signal)
    if (this.#isPutAside) return never()
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
    const { clock, signal } = this.#host
    const deadlineMs = clock.monotonic() + waitMs
    while (!(await isComplete())) {
      if (clock.monotonic() >= deadlineMs) return false
      await clock.sleep(PAGE_POLL_MS, signal)
    }
    return true
  }

  /** Once everything that runs has had its turn, the run is suspended, with all that is pending. */
  #schedule(): void {
    const hasReason = this.#pending.size > 0 || this.#wakeAtMs !== undefined || this.#isDetaching
    if (this.#isScheduled || !hasReason || this.#busy > 0 || this.#isPutAside) return
    this.#isScheduled = true
    setImmediate(() => {
      this.#isScheduled = false
      // Also where the client has gone: a repeat of this leg gets what it came to.
      if (this.#busy === 0 && !this.#isPutAside) this.#suspend()
    })
  }

  #suspend(): void {
    this.#isPutAside = true
    const { answered, entries } = this.#host
    const unused = answered.filter((name) => !this.#used.has(name))
    this.#host.suspend({
      asks: this.#pending,
      wakeAtMs: this.#wakeAtMs,
      isDetached: this.#isDetaching && this.#pending.size === 0,
      entries: [...this.#entries.values()],
      isStalled: this.#entries.size === entries.length,
      problem:
        unused.length > 0 && !this.#gotAnswer && this.#pending.size > 0
          ? new HoldfastError(
              'replay_diverged',
              `${quote(unused[0])} was answered, but the handler, run again, asks ${[...this.#pending.keys()].map(quote).join(', ')} instead. A handler must ask under the same names each time it runs.`,
            )
          : undefined,
    })
  }

  /** The run is over; what the handler awaits never settles. */
  #leave<T>(): Promise<T> {
    this.#isPutAside = true
    return never()
  }
}

const METHOD_OF: Partial<Record<EntryKind, string>> = { url: 'elicitUrl' }

const actionOf = (checked: Checked): 'accept' | 'decline' | 'cancel' =>
  checked.problem === undefined && isObject(checked.value) ? (checked.value.action as 'accept') : 'cancel'

/** A form or a page that nobody answers is as good as cancelled. */
function withoutAnswer({ kind, name }: Question, { refusal }: NoAnswer): { action: 'cancel' } {
  if (refusal === undefined && kind === 'elicit') return { action: 'cancel' }
  throw new HoldfastError('client_refused', refusal ?? `The client did not answer ${quote(name)} in time.`)
}

function toJson(name: string, value: unknown): string | undefined {
  try {
    return JSON.stringify(value)
  } catch (cause) {
    throw new HoldfastError('invalid_ask', `ctx.step(${quote(name)}) returned what JSON can't say.`, { cause })
  }
}
