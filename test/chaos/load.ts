// Clients of a run: each creates a task, follows it to its end, and looks at it again later.
import { setTimeout as sleep } from 'node:timers/promises'
import { seeded } from '../cluster/load.ts'
import type { Creation, Seen } from './check/operations.ts'
import { Refused, type TaskClient } from './client.ts'
import type { About, Begun, HistoryWriter } from './history.ts'
import type { Action } from './processes/plan.ts'

type Random = () => number

/** Kinds of tasks, and how often each is drawn. Every one takes a while, so that faults meet it under way. */
export const KINDS: Readonly<Record<string, { share: number; plan: (random: Random) => Action[] }>> = {
  steps: { share: 4, plan: (random) => [...steps(random, 3), work(random, 300)] },
  asks: {
    share: 4,
    plan: (random) => [
      ...steps(random, 1),
      ask('first'),
      ...steps(random, 1, 'then'),
      ask('second'),
      work(random, 200),
    ],
  },
  sleeps: {
    share: 2,
    plan: (random) => [
      ...steps(random, 1),
      { do: 'sleep', name: 'nap', ms: 300 + random() * 2200 },
      ...steps(random, 1, 'then'),
    ],
  },
  flaky: {
    share: 2,
    plan: (random) => [...steps(random, 1), { do: 'fail', attempts: 1 + Math.floor(random() * 2) }, work(random, 200)],
  },
  long: { share: 4, plan: (random) => [work(random, 5000), ...steps(random, 1)] },
  stubborn: {
    share: 2,
    plan: (random) => [{ do: 'work', ms: 1500 + random() * 2500, ignoresAbort: true }, ...steps(random, 1)],
  },
  blocking: { share: 1, plan: (random) => [{ do: 'block', ms: 300 + random() * 500 }, ...steps(random, 1)] },
}
/** Of the tasks that end by themselves, so many are cancelled on the way. */
const CANCEL_SHARE = 0.15
const CANCEL_WITHIN_MS = 1200
const POLL_MS = 250
/** Read again after its end, so often. */
const LOOKS_BACK = 2
const MAX_WAIT_MS = 1000

const steps = (random: Random, count: number, prefix = 'step'): Action[] =>
  Array.from({ length: count }, (_, index) => ({ do: 'step', name: `${prefix}-${index}`, ms: 50 + random() * 250 }))
const work = (random: Random, ms: number): Action => ({ do: 'work', ms: ms * (0.5 + random() / 2) })
const ask = (name: string): Action => ({ do: 'ask', name })

/** What the clients know of a task. */
export interface Followed {
  readonly task: string
  readonly owner: string
}

/** Parts of a load. */
export interface LoadParts {
  readonly seed: number
  readonly history: (client: string) => HistoryWriter
  /** Every way to every owner's tasks. */
  readonly ways: readonly TaskClient[]
  readonly limits: Pick<Creation, 'maxAttempts' | 'maxCrashes'>
  readonly retentionMs: number
  /** A client has seen the end of a task. */
  readonly onEnded: (followed: Followed) => void
}

/** Keeps some clients busy until it is stopped. */
export class Load {
  readonly #parts: LoadParts
  readonly #clients: Promise<void>[] = []
  readonly created: Followed[] = []
  #isStopping = false
  #isOver = false

  constructor(parts: LoadParts, clients: number) {
    this.#parts = parts
    for (let index = 0; index < clients; index++) this.#clients.push(this.#loop(index))
  }

  /** No more tasks are created; resolves when each client has seen the end of its own, or `ms` have passed. */
  async stop(ms: number): Promise<void> {
    this.#isStopping = true
    const late = setTimeout(() => (this.#isOver = true), ms)
    await Promise.all(this.#clients)
    clearTimeout(late)
  }

  async #loop(index: number): Promise<void> {
    const name = `client-${index + 1}`
    const random = seeded(this.#parts.seed * 1000 + index)
    const history = this.#parts.history(name)
    while (!this.#isStopping) {
      await this.#follow(new Following(name, random, history, this.#parts))
      await sleep(random() * 200)
    }
    history.close()
  }

  async #follow(client: Following): Promise<void> {
    const task = await client.create(() => this.#isOver)
    if (task === undefined) return
    const { owner } = client
    this.created.push({ task, owner })
    let cancelAtMs = client.random() < CANCEL_SHARE ? performance.now() + client.random() * CANCEL_WITHIN_MS : Infinity
    while (!this.#isOver) {
      if (performance.now() >= cancelAtMs) {
        cancelAtMs = Infinity
        await client.cancel(task)
      }
      const seen = await client.readAndAnswer(task)
      if (seen !== undefined && seen.state !== 'working' && seen.state !== 'input_required') {
        this.#parts.onEnded({ task, owner })
        if (seen.state !== 'missing') await client.lookBack(task, () => this.#isStopping)
        return
      }
      await sleep(POLL_MS * (0.5 + client.random()))
    }
  }
}

/** A client with one task. Operations whose outcome is unknown are tried again, another way. */
class Following {
  readonly owner: string
  readonly random: Random
  readonly #name: string
  readonly #history: HistoryWriter
  readonly #parts: LoadParts
  readonly #ways: readonly TaskClient[]

  constructor(name: string, random: Random, history: HistoryWriter, parts: LoadParts) {
    this.#name = name
    this.random = random
    this.#history = history
    this.#parts = parts
    const owners = [...new Set(parts.ways.map(({ owner }) => owner))]
    this.owner = owners[Math.floor(random() * owners.length)]!
    this.#ways = parts.ways.filter(({ owner }) => owner === this.owner)
  }

  get #way(): TaskClient {
    return this.#ways[Math.floor(this.random() * this.#ways.length)]!
  }

  /** One operation: `invoke`, tries until it is known to have been carried out, and its end. */
  async #until<T>(
    begun: Begun,
    isOver: () => boolean,
    run: () => Promise<T>,
    about: (value: T) => About,
  ): Promise<T | undefined> {
    for (let tries = 0; !isOver(); tries++) {
      try {
        const value = await run()
        begun.ok(about(value))
        return value
      } catch (error) {
        if (error instanceof Refused) {
          begun.fail({ value: error.message })
          return undefined
        }
        await sleep(Math.min(MAX_WAIT_MS, 50 * 2 ** tries) * (0.5 + this.random()))
      }
    }
    begun.unknown()
    return undefined
  }

  async create(isOver: () => boolean): Promise<string | undefined> {
    const kind = drawKind(this.random)
    const plan = KINDS[kind]!.plan(this.random)
    const key = `${this.#name}-${Math.floor(this.random() * 2 ** 48).toString(36)}`
    const way = this.#way
    const given = { owner: this.owner, kind, ...this.#parts.limits, via: way.via }
    const begun = this.#history.begin('create', { value: given })
    let next: TaskClient | undefined = way
    const run = async (): Promise<string> => {
      const one = next ?? this.#way
      next = undefined // tried again it goes another way
      return one.create(plan, key)
    }
    return this.#until(begun, isOver, run, (task) => ({ task }))
  }

  /** Reads the task, and answers what it asks; `undefined` where the outcome is unknown. */
  async readAndAnswer(task: string): Promise<Seen | undefined> {
    const way = this.#way
    const begun = this.#history.begin('read', { task, value: { via: way.via } })
    try {
      const { seen, asks } = await way.read(task)
      begun.ok({ value: seen })
      for (const name of asks) await this.#answer(task, name)
      return seen
    } catch (error) {
      endWith(begun, error)
      return undefined
    }
  }

  /** Now and then twice at once, with two answers: one counts. */
  async #answer(task: string, name: string): Promise<void> {
    const one = async (): Promise<void> => {
      const value = `${name} by ${this.#name}: ${Math.floor(this.random() * 1e9)}`
      const way = this.#way
      const begun = this.#history.begin('answer', { task, name, value })
      try {
        await way.answer(task, name, value)
        begun.ok()
      } catch (error) {
        endWith(begun, error)
      }
    }
    await Promise.all(this.random() < 0.3 ? [one(), one()] : [one()])
  }

  async cancel(task: string): Promise<void> {
    const begun = this.#history.begin('cancel', { task })
    let tries = 0
    await this.#until(
      begun,
      () => ++tries > 5,
      () => this.#way.cancel(task),
      () => ({}),
    )
  }

  /** Reads it again a while after its end, and has somebody else try to. */
  async lookBack(task: string, isStopping: () => boolean): Promise<void> {
    const stranger = this.#parts.ways.find(({ owner }) => owner !== this.owner)
    if (stranger !== undefined && this.random() < 0.2) {
      const begun = this.#history.begin('peek', { task, value: { owner: stranger.owner } })
      await stranger.read(task).then(
        ({ seen }) => begun.ok({ value: seen }),
        (error: unknown) => endWith(begun, error),
      )
    }
    for (let times = 0; times < LOOKS_BACK && !isStopping(); times++) {
      await sleep(this.random() * 400)
      await this.readAndAnswer(task)
    }
  }
}

function endWith(begun: Begun, error: unknown): void {
  const about = { value: (error as Error).message }
  if (error instanceof Refused) begun.fail(about)
  else begun.unknown(about)
}

function drawKind(random: Random): string {
  const kinds = Object.entries(KINDS)
  let left = random() * kinds.reduce((sum, [, { share }]) => sum + share, 0)
  for (const [name, { share }] of kinds) if ((left -= share) < 0) return name
  return kinds[0]![0]
}
