import type { Asking } from '../define/ask.ts'
import {
  LOG_LEVELS,
  type Client,
  type Context,
  type ContextLog,
  type ContextTasks,
  type Notify,
  type Principal,
} from '../define/context.ts'
import type { Call } from './call.ts'
import { cached } from './cached.ts'
import { createTask } from './create-task.ts'
import { sha256 } from './digest.ts'
import { elicitQuestion, rootsQuestion, sampleQuestion, urlQuestion } from './question.ts'
import type { Replay } from './replay.ts'

/** What a handler sees of its call. Everything is made on first use. */
export class HandlerContext implements Context {
  readonly #call: Call
  readonly #openReplay: () => Replay
  #log: ContextLog | undefined

  /** @param openReplay gives the call's steps and questions, made on first use. */
  constructor(call: Call, openReplay: () => Replay) {
    this.#call = call
    this.#openReplay = openReplay
  }
  get signal(): AbortSignal {
    return this.#call.signal
  }
  get log(): ContextLog {
    return (this.#log ??= createLog(this.#call))
  }
  get progress(): Context['progress'] {
    return (done, total, message) => this.#call.progress(done, total, message)
  }
  get requestId(): string {
    return this.#call.requestId
  }
  get client(): Client {
    return this.#call.facts.client
  }
  get principal(): Principal {
    return this.#call.principal
  }
  get notify(): Notify {
    return this.#call.services.changes.notify
  }
  get artifacts(): Context['artifacts'] {
    return this.#call.artifacts
  }
  get tasks(): ContextTasks {
    return {
      create: (name, tool, args, { delayMs } = {}) => {
        const { services, principal, requestId } = this.#call
        const replay = this.#replay
        // A worker that is lost between the creation and its record finds the task again by the key.
        const idempotencyKey = sha256(['create', replay.idempotencyKey, name])
        return replay.step(name, async () => {
          const creation = { principal, requestId, idempotencyKey, delayMs }
          const { id } = await createTask(services.tasks, services.catalog.tools, tool, args, creation)
          return { id }
        })
      },
    }
  }
  get cache(): Context['cache'] {
    return (name, key, compute, options) => cached(this.#call, name, key, compute, options)
  }
  get invalidate(): Context['invalidate'] {
    return (tags) => this.#call.services.cache.invalidate(tags)
  }
  get use(): Context['use'] {
    return (dependency, work, options = {}) => this.#call.services.guards.use(dependency, work, options, this.#call)
  }
  get closeStream(): Context['closeStream'] {
    return (retryMs = 1000) => this.#call.closeStream(retryMs)
  }
  get step(): Asking['step'] {
    return (name, fn) => this.#replay.step(name, fn)
  }
  get sleep(): Asking['sleep'] {
    return (name, durationMs) => this.#replay.sleep(name, durationMs)
  }
  get detach(): Asking['detach'] {
    return () => this.#replay.detach()
  }
  get idempotencyKey(): string {
    return this.#replay.idempotencyKey
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
    return this.#openReplay()
  }
}

function createLog(call: Call): ContextLog {
  const entries = LOG_LEVELS.map((level, index) => [
    level,
    (message: string, fields?: Record<string, unknown>) => call.log(index, message, fields),
  ])
  return Object.freeze(Object.fromEntries(entries)) as ContextLog
}
