import type { Asking } from '../define/ask.ts'
import {
  LOG_LEVELS,
  type Client,
  type Context,
  type ContextLog,
  type Notify,
  type Principal,
} from '../define/context.ts'
import type { Invocation } from './invocation.ts'
import { elicitQuestion, rootsQuestion, sampleQuestion, urlQuestion } from './question.ts'
import { Replay } from './replay.ts'

/** What a handler sees of its invocation. Everything is made on first use. */
export class InvocationContext implements Context {
  readonly #invocation: Invocation
  #log: ContextLog | undefined

  constructor(invocation: Invocation) {
    this.#invocation = invocation
  }
  get signal(): AbortSignal {
    return this.#invocation.signal
  }
  get log(): ContextLog {
    return (this.#log ??= createLog(this.#invocation))
  }
  get progress(): Context['progress'] {
    return (done, total, message) => this.#invocation.progress(done, total, message)
  }
  get requestId(): string {
    return this.#invocation.requestId
  }
  get client(): Client {
    return this.#invocation.facts.client
  }
  get principal(): Principal {
    return this.#invocation.principal
  }
  get notify(): Notify {
    return this.#invocation.services.changes.notify
  }
  get artifacts(): Context['artifacts'] {
    return this.#invocation.artifacts
  }
  get closeStream(): Context['closeStream'] {
    return (retryMs = 1000) => this.#invocation.closeStream(retryMs)
  }
  get step(): Asking['step'] {
    return (name, fn) => this.#replay.step(name, fn)
  }
  get elicit(): Asking['elicit'] {
    return async (name, question) => this.#replay.ask(elicitQuestion(name, question))
  }
  get elicitUrl(): Asking['elicitUrl'] {
    return async (name, page) => this.#replay.askUrl(urlQuestion(name, page), page)
  }
  get sample(): Asking['sample'] {
    return async (name, request) => this.#replay.ask(sampleQuestion(name, request))
  }
  get roots(): Asking['roots'] {
    return async (name) => this.#replay.ask(rootsQuestion(name))
  }
  get #replay(): Replay {
    return (this.#invocation.replay ??= new Replay(this.#invocation))
  }
}

function createLog(invocation: Invocation): ContextLog {
  const entries = LOG_LEVELS.map((level, index) => [
    level,
    (message: string, fields?: Record<string, unknown>) => invocation.log(index, message, fields),
  ])
  return Object.freeze(Object.fromEntries(entries)) as ContextLog
}
