import { randomUUID } from 'node:crypto'
import { HoldfastError } from '../errors/holdfast-error.ts'
import type { Clock } from '../ports/clock.ts'
import type { TaskQueue } from '../ports/task-queue.ts'
import type { ClaimedTask, DeadReason, TaskAsk, TaskEnd, TaskStore } from '../ports/task-store.ts'
import { Doorbell } from './doorbell.ts'
import { Gather } from './gather.ts'
import type { Lease, LeaseKeeper, LeaseLoss } from './lease-keeper.ts'
import { persistently } from './persistent.ts'
import { Slots } from './slots.ts'
import type { Topology } from './topology.ts'
import { writeOutcome } from './write-outcome.ts'

/** What became of one attempt. */
export type AttemptOutcome =
  | {
      readonly kind: 'completed'
      readonly result: Uint8Array
      readonly artifacts?: readonly string[]
      readonly dead?: DeadReason
    }
  | { readonly kind: 'failed'; readonly error: Uint8Array; readonly dead?: DeadReason }
  | { readonly kind: 'cancelled' }
  | {
      readonly kind: 'asked'
      readonly asks: readonly TaskAsk[]
      readonly expireAfterMs: number
    }
  | { readonly kind: 'sleeping'; readonly wakeAfterMs: number }
  | { readonly kind: 'retry'; readonly runAfterMs: number }
  /** Not done, and not to be charged: the worker stops. */
  | { readonly kind: 'released' }
  /** Its handler runs on, although it was told to stop: nothing is written, and the task is another's when the lease has run out. */
  | { readonly kind: 'abandoned' }
  /** Its thread or process has died: charged to the task as a worker that was lost. */
  | { readonly kind: 'crashed' }

/** What a run needs of its task. */
export type AttemptTask = Pick<ClaimedTask, 'id' | 'fence' | 'attempts' | 'crashes' | 'maxAttempts' | 'journal'>

/** One attempt at a task, as its runner sees it. */
export interface Attempt<Task extends AttemptTask = ClaimedTask> {
  readonly task: Task
  /** Aborts with a `HoldfastError`: `task_lost`, `task_cancelled`, `draining`. */
  readonly signal: AbortSignal
  /** Puts a step on record; `lost` has aborted {@link signal}. */
  recordStep(name: string, value: Uint8Array, artifacts?: readonly string[]): Promise<'recorded' | 'exists' | 'lost'>
  /** Tells the owner how far it is. */
  report(statusMessage: string): void
  /** The handler goes on after the outcome, though it was told to stop: it keeps its slot until it has settled. */
  keepSlot(until: Promise<unknown>): void
}

/** What a worker works with. */
export interface WorkerParts {
  readonly name: string
  readonly store: TaskStore
  readonly queue: TaskQueue
  /** Whether the queue has what it takes to listen to it. */
  readonly topology: Pick<Topology, 'isStanding' | 'stands'>
  readonly keeper: LeaseKeeper
  readonly clock: Clock
  /** Runs an attempt to its outcome; never rejects. */
  readonly run: (attempt: Attempt) => Promise<AttemptOutcome>
  /** Told of each change that somebody may be waiting for. */
  readonly onChanged: (id: string) => void
  /** Told after which time a task that was put aside is due again. */
  readonly onDue?: (afterMs: number) => void
  readonly onError: (message: string, error: unknown) => void
  /** Handlers that do not stop when they are told to hold so many slots that the process should drain, and be started anew. */
  readonly onStuck?: () => void
  readonly tools: readonly string[]
  /** Attempts at once of the tools that are bounded; the others may take all slots. */
  readonly toolConcurrency?: ReadonlyMap<string, number>
  readonly queues: readonly string[]
  readonly handlerRevisions: readonly string[]
  /** Tasks at once. */
  readonly concurrency: number
  readonly leaseMs: number
  /** Looks for tasks this often, in case no bell rang. */
  readonly pollMs: number
}

interface Running {
  readonly id: string
  readonly controller: AbortController
  readonly ended: Promise<void>
}

/**
 * Runs tasks. Stages:
 *
 *     starting → working → draining → stopped
 *
 * Working, it goes round: a bell or the time to look → slots free? → claim as many → acknowledge the bell → run each →
 * write what became of it → and again, without a bell, while claims come back full.
 *
 * 1. A bell wakes, it does not choose; it is acknowledged once the claim that it led to has committed, or no slot is free
 *    (then the next free slot looks by itself).
 * 2. One claim is under way at a time: together with free slots it takes as many tasks as there are.
 * 3. Every write carries the fence of its claim, and is repeated until it is known to be carried out, or the lease is lost.
 * 4. A handler whose lease is lost is told so, and nothing that it still does is written.
 * 5. A tool of which as many attempts run as may is not asked for: a backlog of it keeps no slot from the others.
 * 6. A handler that was told to stop and does not keeps its slot, though its task has gone on without it.
 */
export class Worker {
  readonly #parts: WorkerParts
  readonly #running = new Map<string, Running>()
  readonly #slots: Slots
  readonly #finishing: Gather<TaskEnd, 'done' | 'lost'>
  readonly #stop = new AbortController()
  readonly #mayHaveMore = new Set<string>()
  /** Queues that were asked for some tools only; looked at again when a slot of a tool becomes free. */
  readonly #askedInPart = new Set<string>()
  readonly #bell: Doorbell
  #claiming: Promise<void> | undefined
  #isPaused = false
  #polling: Promise<void> | undefined

  constructor(parts: WorkerParts) {
    this.#parts = parts
    this.#finishing = new Gather((ends) => parts.store.finish(ends), 500)
    this.#slots = new Slots({ ...parts, stopped: this.#stop.signal, onFree: (tool) => this.#onFree(tool) })
    this.#bell = new Doorbell({
      ...parts,
      onRing: (bell) => this.#onRing(bell.queue, bell.taskIds),
      credits: parts.concurrency,
    })
  }

  /** Tasks that run now. */
  get running(): number {
    return this.#running.size
  }

  /** Handlers that run on, though they were told to stop, and hold slots. */
  get abandoned(): number {
    return this.#slots.abandoned
  }

  /** Begins to work; resolves when bells are heard, or the broker can't be listened to yet: tasks are looked for without it. */
  async start(): Promise<void> {
    for (const name of this.#parts.queues) this.#mayHaveMore.add(name)
    this.#polling = this.#poll()
    await this.#bell.start()
  }

  /** Has a task stop that its owner has cancelled; nothing where it is not here. */
  cancel(id: string): void {
    for (const { id: running, controller } of this.#running.values())
      if (running === id) controller.abort(new HoldfastError('task_cancelled', 'The task was cancelled.'))
  }

  /** Takes no more tasks; resolves when those that run have ended, or `deadlineMs` has passed and they have been told to stop. */
  async drain(deadlineMs: number): Promise<void> {
    const { clock } = this.#parts
    this.#stop.abort()
    // A broker that does not answer takes its time, which is not that of the tasks.
    const deaf = this.#bell.close()
    await this.#claiming
    await this.#polling
    const all = Promise.all([...this.#running.values()].map(({ ended }) => ended))
    const waited = new AbortController()
    const deadline = clock.sleep(deadlineMs, waited.signal).catch(() => undefined)
    await Promise.race([all, deadline])
    waited.abort()
    const reason = new HoldfastError('draining', 'The worker is stopping.')
    for (const { controller } of this.#running.values()) controller.abort(reason)
    await deaf
  }

  /** Resolves when no handler runs any more. */
  async idle(): Promise<void> {
    await Promise.all([...this.#running.values()].map(({ ended }) => ended))
  }

  async #poll(): Promise<void> {
    const { clock, pollMs, queues } = this.#parts
    const { signal } = this.#stop
    while (!signal.aborted) {
      await this.#claim()
      try {
        await clock.sleep(pollMs * (0.5 + Math.random()), signal)
      } catch {
        return // stopped
      }
      for (const name of queues) this.#mayHaveMore.add(name)
    }
  }

  async #onRing(queue: string, ids: readonly string[]): Promise<void> {
    this.#mayHaveMore.add(queue)
    if (this.#stop.signal.aborted) throw new HoldfastError('draining', 'The worker is stopping.')
    await this.#claim(queue, ids)
  }

  /** Claims until no slot is free or nothing is left; a call during another one waits for that one and its own. */
  #claim(hinted?: string, ids?: readonly string[]): Promise<void> {
    const before = this.#claiming ?? Promise.resolve()
    const round = before.then(() => this.#claimRound(hinted, ids))
    this.#claiming = round
    return round
  }

  async #claimRound(hinted: string | undefined, ids: readonly string[] | undefined): Promise<void> {
    let isUnboundedTurn = false
    while (this.#mayHaveMore.size > 0 && !this.#stop.signal.aborted) {
      const { free } = this.#slots
      if (free <= 0) return this.#pause()
      const [queue] = hinted !== undefined && this.#mayHaveMore.has(hinted) ? [hinted] : this.#mayHaveMore
      this.#mayHaveMore.delete(queue!)
      const { tools, limit, isPart } = this.#slots.askable(isUnboundedTurn)
      if (isPart) this.#askedInPart.add(queue!)
      if (tools.length === 0) {
        if (isUnboundedTurn) this.#mayHaveMore.add(queue!)
        isUnboundedTurn = false
        continue
      }
      const isFull = await this.#claimFrom(queue!, tools, limit, queue === hinted ? ids : undefined)
      if (isFull === undefined) return
      if (isFull || isUnboundedTurn) this.#mayHaveMore.add(queue!)
      isUnboundedTurn = isFull && !isUnboundedTurn && limit < free
    }
  }

  /** Claims once; says whether there may be more. `undefined`: the worker stops. */
  async #claimFrom(
    queue: string,
    tools: readonly string[],
    limit: number,
    ids: readonly string[] | undefined,
  ): Promise<boolean | undefined> {
    const { leaseMs, store, handlerRevisions, name, clock, onError } = this.#parts
    const request = {
      worker: name,
      token: randomUUID(),
      queue,
      tools,
      handlerRevisions,
      limit,
      leaseMs,
      ...(ids === undefined ? {} : { ids }),
    }
    let claimed: readonly ClaimedTask[]
    const sentMs = clock.monotonic()
    try {
      claimed = await persistently(
        clock,
        this.#stop.signal,
        () => store.claim(request),
        (error) => onError('Tasks could not be claimed.', error),
      )
    } catch {
      return undefined // stopped while the store was away; a claim that was carried out runs out by itself
    }
    // A claim that took long may have run out already: what it gave is another's before it has begun.
    if (clock.monotonic() - sentMs > leaseMs / 2) {
      await store.release(claimed).catch((error: unknown) => onError('Tasks could not be given back.', error))
      return true
    }
    this.#begin(claimed, sentMs)
    return claimed.length === limit
  }

  #pause(): void {
    if (this.#isPaused) return
    this.#isPaused = true
    this.#bell.pause()
  }
  #resume(): void {
    if (!this.#isPaused || this.#stop.signal.aborted) return
    this.#isPaused = false
    this.#bell.resume()
  }

  #begin(tasks: readonly ClaimedTask[], sentMs: number): void {
    const begun = tasks.map((task) => {
      const lease = { id: task.id, fence: task.fence }
      const stop = new AbortController()
      const lost = new AbortController()
      const onLoss = (loss: LeaseLoss): void => {
        if (loss === 'lost') lose(stop, lost)
        else stop.abort(new HoldfastError('task_cancelled', 'The task was cancelled, or its time is up.'))
      }
      const onReported = (): void => this.#parts.onChanged(task.id)
      return { task, held: { lease, onLoss, onReported }, stop, lost }
    })
    this.#parts.keeper.hold(
      begun.map(({ held }) => held),
      sentMs,
    )
    for (const { task, held, stop, lost } of begun) this.#run(task, held.lease, stop, lost)
  }

  #run(task: ClaimedTask, lease: Lease, controller: AbortController, lost: AbortController): void {
    const { keeper } = this.#parts
    if (task.cancel) controller.abort(new HoldfastError('task_cancelled', 'The task was cancelled.'))
    const key = `${task.id} ${task.fence}`
    const free = this.#slots.take(task.tool)
    const ended = this.#attempt(task, lease, controller, lost).finally(() => {
      keeper.drop(lease)
      this.#running.delete(key)
      free()
    })
    this.#running.set(key, { id: task.id, controller, ended })
  }

  /** A slot may be free. */
  #onFree(tool: string): void {
    this.#resume()
    if (this.#slots.isBounded(tool)) {
      for (const queue of this.#askedInPart) this.#mayHaveMore.add(queue)
      this.#askedInPart.clear()
    }
    if (this.#mayHaveMore.size > 0 && !this.#stop.signal.aborted) void this.#claim()
  }

  /** @param lost aborts when the lease is lost, and for no other reason: a cancelled or draining attempt still writes its end. */
  async #attempt(task: ClaimedTask, lease: Lease, controller: AbortController, lost: AbortController): Promise<void> {
    const { run, keeper, store, leaseMs, onError, clock } = this.#parts
    const write = <T>(work: () => Promise<T>): Promise<T> =>
      persistently(clock, lost.signal, work, (error) => onError(`The task ${task.id} could not be written.`, error))
    /** The keeper may not have sent it yet. */
    let lastReport: string | undefined
    try {
      const outcome = await run({
        task,
        signal: controller.signal,
        report(statusMessage) {
          lastReport = statusMessage
          keeper.report(lease, statusMessage)
        },
        keepSlot: (until) => this.#slots.abandon(task.tool, until),
        recordStep: async (name, value, artifacts = []) => {
          if (lost.signal.aborted) return 'lost'
          const recorded = await write(() => store.recordStep({ ...lease, name, value, leaseMs, artifacts }))
          if (recorded === 'lost') lose(controller, lost)
          return recorded
        },
      })
      if (lost.signal.aborted) return
      await writeOutcome(task, outcome, lastReport, { ...this.#parts, finishing: this.#finishing, write })
    } catch (error) {
      if (!lost.signal.aborted) onError(`The task ${task.id} ended without an outcome.`, error)
    }
  }
}

function lose(stop: AbortController, lost: AbortController): void {
  const reason = new HoldfastError('task_lost', 'Another worker has the task, or may have it.')
  stop.abort(reason)
  lost.abort(reason)
}
