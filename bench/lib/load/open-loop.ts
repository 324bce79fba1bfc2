/**
 * The open loop: requests come at a rate of their own, whether or not the earlier ones have been answered, as they do from
 * many users. Each is timed from when it was due, so that a generator or a server that falls behind hides nothing.
 */
import { createHistogram, performance } from 'node:perf_hooks'
import type { RecordableHistogram } from 'node:perf_hooks'
import { Connection } from './connection.ts'
import { firstId, patch, postBytes } from './request.ts'
import type { RequestTemplate, Wire } from './request.ts'
import type { ResponseHead } from './response-parser.ts'

/** One caller: an address of its own, and a rate. */
export interface OpenCaller {
  name: string
  /** Address to call from; every 127.0.0.x is this machine. */
  from: string
  perSecond: number
}

export interface OpenLoopJob {
  port: number
  path: string
  wire: Wire
  /** Tool without arguments whose text answer is `done`. */
  tool: string
  callers: OpenCaller[]
  durationMs: number
  /** Who has no answer after so long goes away, and counts the call as lost. */
  patienceMs: number
  /** Connections of all callers; a request that finds none free is lost. */
  maxConnections: number
}

/** What one caller got. */
export interface CallerFigures {
  name: string
  offered: number
  /** Right answers in time. */
  good: number
  /** Refused with 503 and `Retry-After`. */
  shed: number
  /** Went away without an answer. */
  gaveUp: number
  /** Everything else: wrong answers, broken connections, no connection left. */
  failed: number
  firstFailure: string | undefined
  offeredPerSecond: number
  goodPerSecond: number
  /** Of the good ones. */
  p50Ms: number
  p99Ms: number
  /** Of the refusals; 0 where there were none. */
  shedP50Ms: number
}

export interface OpenLoopResult {
  callers: CallerFigures[]
  /** Connections that were open at once, at most. */
  connections: number
  /** How late requests left the generator: 99th percentile. A large one makes latencies doubtful. */
  lateP99Ms: number
}

const tickMs = 1
const idDigits = 9

class Call {
  readonly id: number
  readonly dueAt: number
  isOver = false
  client: Client | undefined
  constructor(id: number, dueAt: number) {
    this.id = id
    this.dueAt = dueAt
  }
}

/** A connection that carries one call at a time. */
class Client {
  readonly #caller: Caller
  #connection: Connection | undefined
  #call: Call | undefined

  constructor(caller: Caller) {
    this.#caller = caller
  }

  async open(): Promise<void> {
    this.#connection = await Connection.open(
      this.#caller.job.port,
      {
        onEnd: (head, body) => this.#answered(head, body),
        onClose: (reason) => {
          this.#caller.gone(this)
          if (this.#call !== undefined)
            this.#caller.failed(this.#call, `connection closed: ${String(reason ?? 'by the server')}`)
        },
      },
      this.#caller.facts.from,
    )
  }

  send(call: Call, template: RequestTemplate): void {
    this.#call = call
    call.client = this
    patch(template, call.id)
    this.#connection!.send(Buffer.from(template.bytes)) // a copy: the socket may keep it while the next id is written
  }

  #answered(head: ResponseHead, body: string): void {
    const call = this.#call
    this.#call = undefined
    if (call === undefined) return
    this.#caller.answered(call, head, body)
    if (head.headers.get('connection') === 'close') this.close()
    else this.#caller.idle.push(this)
  }

  close(): void {
    this.#call = undefined
    this.#connection?.destroy()
    this.#caller.gone(this)
  }
}

class Caller {
  readonly job: OpenLoopJob
  readonly facts: OpenCaller
  readonly idle: Client[] = []
  readonly clients = new Set<Client>()
  readonly figures: CallerFigures
  readonly #run: OpenRun
  readonly #template: RequestTemplate
  readonly #good = createHistogram({ lowest: 1, highest: 60_000_000, figures: 3 })
  readonly #shed = createHistogram({ lowest: 1, highest: 60_000_000, figures: 3 })
  #nextAt: number

  constructor(run: OpenRun, facts: OpenCaller, now: number) {
    this.#run = run
    this.job = run.job
    this.facts = facts
    this.#nextAt = now + this.#gap()
    const message = { method: 'tools/call', id: firstId, params: { name: run.job.tool, arguments: {} } }
    const bytes = postBytes(message, run.job.wire, run.job)
    this.#template = { bytes, idOffset: bytes.indexOf(`"id":${firstId}`) + 5, aOffset: -1, bOffset: -1 }
    this.figures = {
      name: facts.name,
      offered: 0,
      good: 0,
      shed: 0,
      gaveUp: 0,
      failed: 0,
      firstFailure: undefined,
      offeredPerSecond: 0,
      goodPerSecond: 0,
      p50Ms: 0,
      p99Ms: 0,
      shedP50Ms: 0,
    }
  }

  /** Requests of users who know nothing of each other come as a Poisson process. */
  #gap(): number {
    return (-Math.log(1 - Math.random()) * 1000) / this.facts.perSecond
  }

  /** Sends what is due by now. */
  sendDue(now: number, until: number): void {
    for (; this.#nextAt <= now && this.#nextAt < until; this.#nextAt += this.#gap()) this.#send(this.#nextAt, now)
  }

  #send(dueAt: number, now: number): void {
    this.figures.offered += 1
    const call = this.#run.begin(this, dueAt, now)
    const client = this.idle.pop()
    if (client !== undefined) return client.send(call, this.#template)
    if (this.#run.connections >= this.job.maxConnections)
      return this.failed(call, 'the generator has no connection left')
    const opened = new Client(this)
    this.clients.add(opened)
    this.#run.opened()
    opened.open().then(
      () => {
        if (call.isOver) this.idle.push(opened)
        else opened.send(call, this.#template)
      },
      (error) => {
        this.gone(opened)
        this.failed(call, `no connection: ${String(error)}`)
      },
    )
  }

  answered(call: Call, head: ResponseHead, body: string): void {
    if (call.isOver) return
    const isShed = head.status === 503 && head.headers.has('retry-after')
    const isGood = head.status === 200 && body.includes(`"id":${call.id}`) && body.includes('"text":"done"')
    if (!isShed && !isGood) return this.failed(call, `status ${head.status}: ${body.slice(0, 300)}`)
    call.isOver = true
    this.figures[isGood ? 'good' : 'shed'] += 1
    const micros = Math.max(1, Math.round((performance.now() - call.dueAt) * 1000))
    ;(isGood ? this.#good : this.#shed).record(micros)
  }

  failed(call: Call, what: string): void {
    if (call.isOver) return
    call.isOver = true
    this.figures.failed += 1
    this.figures.firstFailure ??= what
  }

  gaveUp(call: Call): void {
    if (call.isOver) return
    call.isOver = true
    this.figures.gaveUp += 1
    call.client?.close()
  }

  gone(client: Client): void {
    if (!this.clients.delete(client)) return
    this.#run.closed()
    const at = this.idle.indexOf(client)
    if (at >= 0) this.idle.splice(at, 1)
  }

  finish(): CallerFigures {
    for (const client of this.clients) client.close()
    const ms = (histogram: RecordableHistogram, percentile: number): number =>
      histogram.count === 0 ? 0 : histogram.percentile(percentile) / 1000
    this.figures.offeredPerSecond = (this.figures.offered * 1000) / this.job.durationMs
    this.figures.goodPerSecond = (this.figures.good * 1000) / this.job.durationMs
    this.figures.p50Ms = ms(this.#good, 50)
    this.figures.p99Ms = ms(this.#good, 99)
    this.figures.shedP50Ms = ms(this.#shed, 50)
    return this.figures
  }
}

class OpenRun {
  readonly job: OpenLoopJob
  readonly late = createHistogram({ lowest: 1, highest: 60_000_000, figures: 3 })
  connections = 0
  mostConnections = 0
  /** Calls in the order in which they began; all have the same patience. */
  #pending: { caller: Caller; call: Call }[] = []
  #nextId = firstId

  constructor(job: OpenLoopJob) {
    this.job = job
  }

  begin(caller: Caller, dueAt: number, now: number): Call {
    this.late.record(Math.max(1, Math.round((now - dueAt) * 1000)))
    const call = new Call(this.#nextId, dueAt)
    this.#nextId = this.#nextId === 10 ** idDigits - 1 ? firstId : this.#nextId + 1
    this.#pending.push({ caller, call })
    return call
  }

  opened(): void {
    this.connections += 1
    this.mostConnections = Math.max(this.mostConnections, this.connections)
  }
  closed(): void {
    this.connections -= 1
  }

  /** Lets go of who waits for too long; resolves to how many calls are still open. */
  expire(now: number): number {
    let first = 0
    for (; first < this.#pending.length; first += 1) {
      const { caller, call } = this.#pending[first]!
      if (call.isOver) continue
      if (now - call.dueAt <= this.job.patienceMs) break
      caller.gaveUp(call)
    }
    if (first > 0) this.#pending = this.#pending.slice(first)
    return this.#pending.length
  }
}

/** Runs the open loop until every call has had an answer, or its client has lost its patience. */
export async function runOpenLoop(job: OpenLoopJob): Promise<OpenLoopResult> {
  const run = new OpenRun(job)
  const start = performance.now()
  const until = start + job.durationMs
  const callers = job.callers.map((facts) => new Caller(run, facts, start))
  await new Promise<void>((resolve) => {
    const timer = setInterval(() => {
      const now = performance.now()
      for (const caller of callers) caller.sendDue(now, until)
      if (run.expire(now) > 0 || now < until) return
      clearInterval(timer)
      resolve()
    }, tickMs)
  })
  return {
    callers: callers.map((caller) => caller.finish()),
    connections: run.mostConnections,
    lateP99Ms: run.late.percentile(99) / 1000,
  }
}
