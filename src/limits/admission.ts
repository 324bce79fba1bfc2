import { HoldfastError } from '../errors/holdfast-error.ts'
import type { Clock } from '../ports/clock.ts'
import type { Telemetry } from '../ports/telemetry.ts'
import { LoopGuard } from './loop-guard.ts'
import { PendingBytes } from './pending-bytes.ts'
import { Slots, type ShedReason, type Waiting } from './slots.ts'

/** Bounds of what one node takes on. Defaults stand in `compose/options.ts`. */
export interface AdmissionOptions {
  /** Requests whose handlers run at once on this node; more wait in a short queue, or are shed with `overloaded`. */
  maxConcurrentRequests: number
  /** Longest wait in the queue; who would wait longer is shed at once. */
  maxQueueMs: number
  /** Delay of the event loop above which requests are shed, if it lasts. */
  maxLoopDelayMs: number
  /** Bytes of all bodies that are being received, or wait in the queue. */
  maxPendingBodyBytes: number
}

/** A tool as admission sees it. */
export interface LimitedTool {
  readonly name: string
  readonly concurrency?: number
}

/** What queues. */
export interface Candidate {
  readonly caller: string
  /** Name of the tool that it calls, if it calls one. */
  readonly tool: string | undefined
  /** Bytes of its body. */
  readonly bytes: number
}

const EXPIRE_EVERY_MS = 50
const LEAST_RETRY_MS = 500
const MOST_RETRY_MS = 10_000

/**
 * Decides what this node takes on: so many handlers at once, of the node and of each tool that says so (`concurrency`),
 * a short and fair queue before them ({@link Slots}), and less where the event loop is late ({@link LoopGuard}).
 *
 * 1. A slot is held until the handler has returned, whatever became of its client.
 * 2. A request that would be shed is shed from its headers, before its body is read, where they say what it is.
 * 3. With room, admission costs a comparison; callers are told apart only where somebody has to wait.
 */
export class Admission {
  readonly pending: PendingBytes
  readonly #options: AdmissionOptions
  readonly #clock: Clock
  readonly #telemetry: Telemetry
  readonly #node: Slots
  readonly #tools = new Map<string, Slots>()
  readonly #loop: LoopGuard
  readonly #stop = new AbortController()
  #isExpiring = false
  #abandoned = 0

  constructor(options: AdmissionOptions, tools: Iterable<LimitedTool>, clock: Clock, telemetry: Telemetry) {
    this.#options = options
    this.#clock = clock
    this.#telemetry = telemetry
    this.pending = new PendingBytes(options.maxPendingBodyBytes)
    this.#node = new Slots(options.maxConcurrentRequests, options.maxQueueMs, clock)
    for (const { name, concurrency } of tools)
      if (concurrency !== undefined) this.#tools.set(name, new Slots(concurrency, options.maxQueueMs, clock))
    this.#loop = new LoopGuard(options.maxLoopDelayMs, clock)
  }

  /** Handlers that run now; those whose clients have gone are among them. */
  get running(): number {
    return this.#node.taken
  }
  /** Handlers that run on although their request has ended. */
  get abandoned(): number {
    return this.#abandoned
  }
  /** Requests in the queues. */
  get queued(): number {
    let sum = this.#node.waiting
    for (const tool of this.#tools.values()) sum += tool.waiting
    return sum
  }
  /** How late the event loop was at the last look. */
  get loopDelayMs(): number {
    return this.#loop.delayMs
  }

  /** Whether a request may run now. */
  hasRoom(tool: string | undefined): boolean {
    return this.#node.hasRoom && (tool === undefined || this.#tools.get(tool)?.hasRoom !== false)
  }

  /** Takes a slot while there is {@link hasRoom}. */
  hold(tool: string | undefined): Hold {
    const ofTool = tool === undefined ? undefined : this.#tools.get(tool)
    ofTool?.take()
    this.#node.take()
    return this.#held(ofTool)
  }

  #held(tool: Slots | undefined): Hold {
    let sinceMs = this.#clock.monotonic()
    let isAbandoned = false
    let resting = 0
    let hasLeft = false
    const give = (heldMs?: number): void => {
      tool?.give(heldMs)
      this.#node.give(heldMs)
    }
    return {
      rest: () => {
        if (hasLeft || ++resting > 1) return
        sinceMs -= this.#clock.monotonic()
        give()
      },
      resume: () => {
        if (hasLeft || --resting > 0) return
        sinceMs += this.#clock.monotonic()
        tool?.take()
        this.#node.take()
      },
      abandon: () => {
        if (isAbandoned) return
        isAbandoned = true
        this.#abandoned++
      },
      leave: () => {
        hasLeft = true
        if (isAbandoned) this.#abandoned--
        if (resting === 0) give(this.#clock.monotonic() - sinceMs)
      },
    }
  }

  /** Whether there is anything to {@link screen} for: asked of each request, so it looks at numbers alone. */
  isStrained(tool: string | undefined): boolean {
    this.#loop.touch()
    return this.#loop.isCounting || !this.hasRoom(tool)
  }

  /**
   * Sheds a request that will not be served, from what is known before its body is.
   * @throws {HoldfastError} `overloaded`
   */
  screen(caller: string, tool: string | undefined, takesSlot: boolean): void {
    const error = this.screenLoop(caller)
    if (error !== undefined) throw error
    if (!takesSlot) return
    const ofTool = tool === undefined ? undefined : this.#tools.get(tool)
    for (const slots of [ofTool, this.#node]) {
      const reason = slots?.refusal(caller)
      if (reason !== undefined) throw this.#shed(reason, slots)
    }
  }

  /** Whether the event loop is late, and {@link screenLoop} has to be asked. */
  get isLate(): boolean {
    return this.#loop.isCounting
  }
  /** Counts a request of a caller; its refusal where the event loop is late and the caller has had its share. */
  screenLoop(caller: string): HoldfastError | undefined {
    return this.#loop.admits(caller) ? undefined : this.#shed('event_loop', undefined)
  }

  /** The refusal of a body that had to go, because too many bytes wait. */
  evicted(): HoldfastError {
    return this.#shed('pending_bytes', undefined)
  }

  /**
   * Queues a request that has no room now. Exactly one of `run` (with its slot) and `shed` is called, unless the returned
   * function is called before: it takes the request out.
   */
  enqueue(candidate: Candidate, run: (hold: Hold) => void, shed: (error: HoldfastError) => void): () => void {
    const { caller, bytes } = candidate
    const tool = candidate.tool === undefined ? undefined : this.#tools.get(candidate.tool)
    const sinceMs = this.#clock.monotonic()
    let leave = (): void => undefined
    const end = (reason: ShedReason, slots: Slots | undefined): void => {
      body.release()
      shed(this.#shed(reason, slots))
    }
    const body = this.pending.open(caller, () => {
      leave()
      end('pending_bytes', undefined)
    })
    const waitFor = (slots: Slots, grant: () => void, giveBack: () => void): void => {
      if (slots.hasRoom) {
        slots.take()
        return grant()
      }
      const refuse = (reason: ShedReason): void => {
        giveBack()
        end(reason, slots)
      }
      const reason = slots.refusal(caller)
      if (reason !== undefined) return refuse(reason)
      const waiting: Waiting = { caller, sinceMs, grant, shed: refuse }
      leave = () => {
        slots.leave(waiting)
        giveBack()
      }
      slots.enter(waiting)
      this.#expireLater()
    }
    const start = (): void => {
      body.release()
      this.#telemetry.queued((this.#clock.monotonic() - sinceMs) / 1000)
      run(this.#held(tool))
    }
    // First for the tool, then with its slot for the node.
    if (tool === undefined) waitFor(this.#node, start, () => undefined)
    else
      waitFor(
        tool,
        () => waitFor(this.#node, start, () => tool.give()),
        () => undefined,
      )
    body.grow(bytes)
    return () => {
      body.release()
      leave()
    }
  }

  close(): void {
    this.#stop.abort()
    this.#loop.close()
  }

  #shed(reason: ShedReason, slots: Slots | undefined): HoldfastError {
    this.#telemetry.count('sheds', reason)
    const clearsAfterMs = Math.min(MOST_RETRY_MS, Math.max(LEAST_RETRY_MS, slots?.clearsAfterMs ?? 0))
    // Spread over twice the time, so that those who were shed together do not come back together.
    const retryAfterMs = Math.round(clearsAfterMs * (1 + Math.random()))
    return new HoldfastError('overloaded', this.#message(reason, slots), { data: { retryAfterMs } })
  }

  #message(reason: ShedReason, slots: Slots | undefined): string {
    const what = slots === undefined || slots === this.#node ? 'The server' : 'The tool'
    if (reason === 'queue_full') return `${what} is busy: ${slots!.taken} requests run, and ${slots!.waiting} wait.`
    if (reason === 'wait_too_long') return `${what} is busy: the wait is longer than ${this.#options.maxQueueMs} ms.`
    if (reason === 'event_loop') return 'The server is late, and you have had your share of it.'
    return `The server holds as many bytes of requests as it may (${this.#options.maxPendingBodyBytes}).`
  }

  /** While somebody waits, looks now and then who has waited for too long. */
  #expireLater(): void {
    if (this.#isExpiring || this.#stop.signal.aborted) return
    this.#isExpiring = true
    void (async () => {
      while (this.queued > 0) {
        try {
          await this.#clock.sleep(EXPIRE_EVERY_MS, this.#stop.signal)
        } catch {
          break // closed
        }
        const nowMs = this.#clock.monotonic()
        for (const slots of [this.#node, ...this.#tools.values()]) slots.expire(nowMs)
      }
      this.#isExpiring = false
    })()
  }
}

/** A slot that is held. */
export interface Hold {
  /** The handler waits for a person, and does nothing: others may have the slot. Paired with {@link resume}; pairs may overlap. */
  rest(): void
  /** The handler goes on; it does not wait in the queue a second time, so there may for a moment be one more than slots. */
  resume(): void
  /** The request has ended; its handler has not. */
  abandon(): void
  /** The handler has returned. Called once. */
  leave(): void
}
