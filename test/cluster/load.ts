// Clients under load: each runs operations one after the other and writes down what it saw. A client tries again what it is
// told to try again, and what a broken connection left open; nothing else.
import { setTimeout as sleep } from 'node:timers/promises'
import { send, type Message, type Reply } from '../clients/raw.ts'
import type { History, TryOutcome } from './history.ts'

/** A request, ready to be sent. */
export type Init = RequestInit & { headers: Record<string, string | undefined> }

/** How patient clients are. */
export interface Patience {
  /** Requests of one operation's step. 1: no retries. */
  maxTries: number
  /** How long a client waits for the answer to one request. */
  timeoutMs: number
}

/** What one operation works with. */
export interface Operation {
  readonly url: string
  readonly random: () => number
  /** One step: sends a request until it is answered. Throws {@link Failed} where the answer is none that may be. */
  step(make: () => Init, isGood?: (reply: Reply) => boolean, timeoutMs?: number): Promise<Reply>
  /** One step that is more than a request: throws {@link Disturbed} to be tried again. */
  attempt<T>(run: () => Promise<T>): Promise<T>
}

/** An answer that must not be. */
export class Failed extends Error {}
/** What may be tried again. */
export class Disturbed extends Error {
  readonly outcome: TryOutcome
  constructor(outcome: TryOutcome, why: string) {
    super(why)
    this.outcome = outcome
  }
}

const BACKOFF_MS = 100
const MAX_BACKOFF_MS = 1000

/** Runs clients until it is stopped. */
export class Load {
  readonly #history: History
  readonly #url: string
  readonly #patience: Patience
  readonly #clients: Promise<void>[] = []
  #isStopping = false

  constructor(url: string, history: History, patience: Patience) {
    this.#url = url
    this.#history = history
    this.#patience = patience
  }

  /** Adds a client that repeats an operation, pausing in between. */
  add(name: string, seed: number, pauseMs: number, run: (operation: Operation) => Promise<void>): void {
    const random = seeded(seed)
    const client = `client-${this.#clients.length + 1}`
    const loop = async (): Promise<void> => {
      while (!this.#isStopping) {
        await this.#run(client, name, random, run)
        await sleep(pauseMs)
      }
    }
    this.#clients.push(loop())
  }

  /** Lets each client end the operation that it is in. */
  async stop(): Promise<void> {
    this.#isStopping = true
    await Promise.all(this.#clients)
  }

  async #run(
    process: string,
    op: string,
    random: () => number,
    run: (operation: Operation) => Promise<void>,
  ): Promise<void> {
    const event = { process, op, opId: this.#history.nextOpId() }
    const attempt = async <T>(body: () => Promise<T>): Promise<T> => {
      for (let tries = 1; ; tries++) {
        const startedMs = performance.now()
        const write = (outcome: TryOutcome, why?: string): void =>
          this.#history.write({
            ...event,
            phase: 'try',
            outcome,
            ms: Math.round(performance.now() - startedMs),
            ...(why === undefined ? {} : { why }),
          })
        try {
          const value = await body()
          write('ok')
          return value
        } catch (error) {
          if (error instanceof Failed) throw error // written down by the step that it came from
          const { outcome, message } =
            error instanceof Disturbed ? error : { outcome: 'bad' as const, message: String(error) }
          write(outcome, message)
          if (outcome === 'bad' || tries >= this.#patience.maxTries) throw new Failed(`${message} (try ${tries})`)
        }
        await sleep(Math.min(MAX_BACKOFF_MS, BACKOFF_MS * 2 ** (tries - 1)) * (0.5 + random() / 2))
      }
    }
    this.#history.write({ ...event, phase: 'invoke' })
    try {
      await run({
        url: this.#url,
        random,
        attempt,
        step: (make, isGood = hasResult, timeoutMs = this.#patience.timeoutMs) =>
          attempt(() => request(this.#url, make(), isGood, timeoutMs)),
      })
      this.#history.write({ ...event, phase: 'ok' })
    } catch (error) {
      this.#history.write({
        ...event,
        phase: 'fail',
        why: error instanceof Failed ? error.message : String((error as Error).stack),
      })
    }
  }
}

/** Whether a request was answered with a result. */
export const hasResult = ({ message }: { message?: Message | undefined }): boolean => message?.result !== undefined

/** Sends one request, and says what the answer, or its lack, means to a client. */
async function request(url: string, init: Init, isGood: (reply: Reply) => boolean, timeoutMs: number): Promise<Reply> {
  let reply: Reply
  try {
    reply = await send(url, { ...init, signal: AbortSignal.timeout(timeoutMs) })
  } catch (error) {
    throw disturbance(error, timeoutMs)
  }
  if (isGood(reply)) return reply
  throw unwanted(reply.status, reply.message, reply.text)
}

/** What a request that was not answered means. */
export function disturbance(error: unknown, timeoutMs: number): Disturbed {
  if (error instanceof Disturbed) return error
  const { name, message, cause } = error as Error & { cause?: { code?: string; message?: string } }
  if (name === 'TimeoutError') return new Disturbed('late', `no answer within ${timeoutMs} ms`)
  return new Disturbed('broken', `${message}: ${cause?.code ?? cause?.message ?? ''}`)
}

/** What an answer that is not the wanted one means. */
export function unwanted(status: number, message: Message | undefined, text: string): Disturbed {
  // A stream that broke off before its answer reads as an answer without a message.
  if (status === 200 && message === undefined) return new Disturbed('broken', 'the stream ended without an answer')
  // HAProxy's own words for a connection that broke.
  if ([502, 503, 504].includes(status) && message === undefined)
    return new Disturbed('broken', `${status} of the proxy`)
  const error = message?.error
  if (error?.data?.['retryable'] === true)
    return new Disturbed('retry', `${status} ${error.data['code'] ?? error.code}`)
  return new Disturbed('bad', `${status} ${text.slice(0, 300)}`)
}

/** A repeatable random number generator (mulberry32), from 0 to below 1. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
