import type { Client } from '../define/context.ts'
import type { HoldfastError } from '../errors/holdfast-error.ts'
import type { Clock } from '../ports/clock.ts'
import type { ClientRequest } from './question.ts'
import type { Entry, EntryKind } from './request-state.ts'

/** The client was asked, and has not answered in time, or has answered with an error. */
export class NoAnswer {
  /** `undefined`: it has not answered in time. */
  readonly refusal: string | undefined
  constructor(refusal?: string) {
    this.refusal = refusal
  }
}

/** What a run has come to, and cannot go on from. */
export interface Suspension {
  /** To be asked; may be none. */
  readonly asks: ReadonlyMap<string, Ask>
  /** To be woken then, by the wall clock. */
  readonly wakeAtMs: number | undefined
  /** The call goes on as a task. */
  readonly isDetached: boolean
  readonly entries: readonly Entry[]
  /** Nothing was added to the record since the run before. */
  readonly isStalled: boolean
  /** The handler does not do the same as before. */
  readonly problem: HoldfastError | undefined
}

/** A question in the words of its revision. */
export interface Ask {
  readonly kind: EntryKind
  readonly request: ClientRequest
}

/** How a run gets what it lacks: in a 2025 session, in a request of 2026-07-28, as a task. */
export interface ReplayHost {
  readonly clock: Clock
  readonly signal: AbortSignal
  readonly client: Client
  readonly revision: string
  /** What earlier runs have put on record. */
  readonly entries: readonly Entry[]
  /** What the client was asked before. */
  readonly asked: readonly string[]
  /** Equal each time the handler runs for the same thing; `undefined`: one is made, and put on record. */
  readonly idempotencyKey: string | undefined
  /** How long a question is good for. */
  readonly questionTtlMs: number
  /** The call becomes a task where it says `ctx.detach()`; `undefined`: it is one already, or runs in place. */
  readonly canDetach: boolean
  /** @throws {HoldfastError} `invalid_ask` where the client can't be asked. */
  checkCanAsk(): void
  /** The answers to a question that have come, the oldest first. */
  answersTo(name: string): readonly unknown[]
  /** Asks, while the handler waits. Without it a run that lacks an answer is suspended. */
  readonly askNow: ((name: string, request: ClientRequest) => Promise<{ id: string; answer: unknown }>) | undefined
  /** Tells the client that a page is done with. */
  tellComplete?(id: string): void
  /** Whether a step may be taken; where not, the host has left the run. */
  admitStep?(): boolean
  /** Puts an entry on record, before it counts. `false`: the run is not to go on. */
  record?(entry: Entry): Promise<boolean>
  /** Waits shorter than this are waited in place; `undefined`: all. */
  readonly longestWaitMs: number | undefined
  /** How long a page is waited for in place. */
  readonly pageWaitMs: number
  /** The handler is left where it is. */
  suspend(suspension: Suspension): void
  /** What was answered, and was not asked for again. */
  readonly answered: readonly string[]
}
