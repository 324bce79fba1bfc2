/** The closed loop: every connection sends its next request when it has checked its last answer. */
import { createHistogram, performance } from 'node:perf_hooks'
import { Connection, exchange } from './connection.ts'
import { firstId, initializeMessage, patch, postBytes, requestTemplate } from './request.ts'
import type { Operation, RequestTemplate, Wire } from './request.ts'
import { AnswerCheck, beginningBytes } from './verify.ts'

/** One measurement. */
export interface LoadJob {
  port: number
  path: string
  wire: Wire
  operation: Operation
  /** Clients, each with one connection and at most one request in flight (and a session of its own, if any). */
  connections: number
  /** Load of the same kind before the clock starts. */
  warmupMs: number
  durationMs: number
  /** Tools that a `list` answer must hold. */
  listed: number
}

/** What one measurement found. */
export interface LoadResult {
  /** Right answers within the measured time. */
  requests: number
  /** Right answers altogether, warm-up included. */
  answered: number
  requestsPerSecond: number
  p50Us: number
  p99Us: number
  maxUs: number
  /** Wrong answers and broken connections, and the first of them in words. */
  failures: number
  firstFailure: string | undefined
  /** Connections opened again because the server closed one between two requests. */
  reconnects: number
  /** Share of the time in which the generator's own event loop had work: near 1, it was the bottleneck. */
  generatorBusy: number
}

/** An answer that takes longer than this ends the measurement with an error. */
const stallMs = 15_000

let nextId = firstId

class Client {
  readonly #job: LoadJob
  readonly #run: LoadRun
  readonly #check: AnswerCheck
  #template: RequestTemplate | undefined
  #connection: Connection | undefined
  #id = 0
  #sentAt = 0
  #inFlight = false

  constructor(job: LoadJob, run: LoadRun) {
    this.#job = job
    this.#run = run
    this.#check = new AnswerCheck(job.operation, job.listed)
  }

  async open(): Promise<void> {
    const sessionId = this.#job.wire.mode === 'session' ? await openSession(this.#job) : undefined
    this.#template ??= requestTemplate(this.#job.operation, this.#job.wire, { ...this.#job, sessionId })
    await this.#connect()
  }

  async #connect(): Promise<void> {
    const connection = await Connection.open(this.#job.port, {
      onEnd: (head, body, bodyBytes) => {
        const now = performance.now()
        this.#inFlight = false
        const wrong = this.#check.wrongness(this.#id, head, body, bodyBytes)
        if (this.#check.needsBeginningOnly) this.#connection!.keepOnly(beginningBytes)
        this.#run.answered(now, (now - this.#sentAt) * 1000, wrong)
        if (head.headers.get('connection') === 'close') return
        this.send()
      },
      onClose: (reason) => {
        if (this.#inFlight)
          this.#run.failed(`connection closed before the answer: ${String(reason ?? 'by the server')}`)
        this.#inFlight = false
        if (this.#run.stopped) return
        this.#run.reconnects += 1
        this.#connect().then(
          () => this.send(),
          (error) => this.#run.abort(new Error(`the server refuses connections: ${String(error)}`)),
        )
      },
    })
    // The run may have ended meanwhile; then nobody else would close this connection.
    if (this.#run.stopped) connection.destroy()
    this.#connection = connection
  }

  send(): void {
    if (this.#run.stopped) return
    this.#id = nextId
    nextId = nextId === 999_999_999 ? firstId : nextId + 1
    patch(this.#template!, this.#id)
    this.#sentAt = performance.now()
    this.#inFlight = true
    this.#connection!.send(this.#template!.bytes)
  }

  /** Milliseconds since the request in flight was sent; 0 when there is none. */
  waitingMs(now: number): number {
    return this.#inFlight ? now - this.#sentAt : 0
  }

  close(): void {
    this.#connection?.destroy()
  }
}

class LoadRun {
  stopped = false
  reconnects = 0
  failures = 0
  firstFailure: string | undefined
  counted = 0
  answeredRight = 0
  readonly histogram = createHistogram({ lowest: 1, highest: 60_000_000, figures: 3 })
  #from = Infinity
  #until = Infinity
  readonly #aborted = Promise.withResolvers<never>()

  constructor() {
    // The run may end before anybody waits again: a late abort is then of no interest.
    this.#aborted.promise.catch(() => undefined)
  }

  /** Counts answers that arrive from now on for `durationMs`. */
  start(now: number, durationMs: number): void {
    this.#from = now
    this.#until = now + durationMs
  }

  answered(now: number, latencyUs: number, wrong: string | undefined): void {
    if (wrong !== undefined) {
      this.failed(wrong)
      return
    }
    this.answeredRight += 1
    if (now < this.#from || now >= this.#until) return
    this.counted += 1
    this.histogram.record(Math.max(1, Math.round(latencyUs)))
  }

  failed(what: string): void {
    this.failures += 1
    this.firstFailure ??= what
    // A server that only errs would be asked again at full speed for nothing.
    if (this.failures > 1000) this.abort(new Error(`over 1000 wrong answers, the first: ${this.firstFailure}`))
  }

  abort(error: Error): void {
    this.stopped = true
    this.#aborted.reject(error)
  }

  /** Waits, unless the run is aborted: then it rejects with the reason. */
  async wait(durationMs: number): Promise<void> {
    const timer = Promise.withResolvers<void>()
    const handle = setTimeout(timer.resolve, durationMs)
    try {
      await Promise.race([timer.promise, this.#aborted.promise])
    } finally {
      clearTimeout(handle)
    }
  }
}

async function openSession(job: LoadJob): Promise<string | undefined> {
  const { head, body } = await exchange(job.port, postBytes(initializeMessage(job.wire.revision), job.wire, job))
  if (head.status !== 200) throw new Error(`initialize answered ${head.status}: ${body.slice(0, 300)}`)
  const sessionId = head.headers.get('mcp-session-id')
  const initialized = postBytes({ method: 'notifications/initialized' }, job.wire, { ...job, sessionId })
  const done = await exchange(job.port, initialized)
  if (done.head.status !== 202) throw new Error(`notifications/initialized answered ${done.head.status}: ${done.body}`)
  return sessionId
}

/**
 * Runs one measurement.
 *
 * @throws Error when the server refuses connections, stalls for 15 s, or answers wrongly more than 1,000 times.
 */
export async function runLoad(job: LoadJob): Promise<LoadResult> {
  const run = new LoadRun()
  const clients = Array.from({ length: job.connections }, () => new Client(job, run))
  let watch: NodeJS.Timeout | undefined
  try {
    await Promise.all(clients.map((client) => client.open()))
    for (const client of clients) client.send()
    watch = setInterval(() => {
      const now = performance.now()
      const stalled = clients.filter((client) => client.waitingMs(now) > stallMs).length
      if (stalled > 0) run.abort(new Error(`${stalled} of ${clients.length} requests unanswered for ${stallMs} ms`))
    }, 1000)
    await run.wait(job.warmupMs)
    const busyBefore = performance.eventLoopUtilization()
    run.start(performance.now(), job.durationMs)
    await run.wait(job.durationMs)
    const generatorBusy = performance.eventLoopUtilization(busyBefore).utilization
    return {
      requests: run.counted,
      answered: run.answeredRight,
      requestsPerSecond: (run.counted * 1000) / job.durationMs,
      p50Us: run.histogram.percentile(50),
      p99Us: run.histogram.percentile(99),
      maxUs: run.histogram.max,
      failures: run.failures,
      firstFailure: run.firstFailure,
      reconnects: run.reconnects,
      generatorBusy,
    }
  } finally {
    run.stopped = true
    clearInterval(watch)
    for (const client of clients) client.close()
  }
}
