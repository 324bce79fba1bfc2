// A client that keeps a stream of changes open through whatever happens: comes back when it breaks, or is told to.
import { setTimeout as sleep } from 'node:timers/promises'
import { modernInit, open, postInit, type Stream } from '../clients/raw.ts'
import { Disturbed, disturbance, unwanted, type Init } from './load.ts'

const RETRY_MS = 100
const OPEN_TIMEOUT_MS = 10_000

/** How a stream is opened; `last` is the id of the last event that the client has seen. */
export type OpenInit = (last: string | undefined) => Init

/** Keeps a stream open from its making to {@link close}. */
export class StreamKeeper {
  /** Messages that came, by method. */
  readonly seen: string[] = []
  connections = 0
  /** Ends of the stream without a word: neither a time to come back after, nor a result. */
  rudeEnds = 0
  /** Answers that no client should see. */
  readonly problems: string[] = []
  readonly #url: string
  readonly #init: OpenInit
  readonly #done: Promise<void>
  #stream: Stream | undefined
  #isOver = false

  constructor(url: string, init: OpenInit) {
    this.#url = url
    this.#init = init
    this.#done = this.#run()
  }

  /** Whether it is connected now. */
  get isOpen(): boolean {
    return this.#stream !== undefined
  }

  async close(): Promise<void> {
    this.#isOver = true
    await this.#stream?.close()
    await this.#done
  }

  async #run(): Promise<void> {
    let last: string | undefined
    while (!this.#isOver) {
      try {
        const stream = await this.#open(last)
        this.#stream = stream
        this.connections++
        let isPolite = false
        for (let event = await stream.next(); event !== undefined; event = await stream.next()) {
          if (event.id !== undefined) last = event.id
          isPolite = event.retry !== undefined || event.json?.result !== undefined
          if (event.json?.method !== undefined) this.seen.push(event.json.method)
        }
        if (!isPolite) this.rudeEnds++
      } catch (error) {
        const disturbed = disturbance(error, OPEN_TIMEOUT_MS)
        if (disturbed.outcome === 'bad') this.problems.push(disturbed.message)
        this.rudeEnds++
      }
      await this.#stream?.close()
      this.#stream = undefined
      if (!this.#isOver) await sleep(RETRY_MS)
    }
  }

  async #open(last: string | undefined): Promise<Stream> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Disturbed('late', 'the stream was not opened')), OPEN_TIMEOUT_MS)
    })
    const opening = open(this.#url, this.#init(last))
    opening.then((stream) => (this.#isOver ? stream.close() : undefined)).catch(() => undefined) // told by the race below
    try {
      const stream = await Promise.race([opening, late])
      if (stream.headers.get('content-type')?.startsWith('text/event-stream')) return stream
      const text = await stream.text()
      throw unwanted(stream.status, text.startsWith('{') ? JSON.parse(text) : undefined, text)
    } finally {
      clearTimeout(timer)
    }
  }
}

/** Follows a resource by `subscriptions/listen` of 2026-07-28. */
export const listenTo =
  (uri: string): OpenInit =>
  () =>
    modernInit('subscriptions/listen', { notifications: { resourceSubscriptions: [uri] } })

/** The GET stream of a 2025 session. */
export const streamOf =
  (headers: Record<string, string | undefined>): OpenInit =>
  (last) => ({ method: 'GET', headers: { ...headers, accept: 'text/event-stream', 'last-event-id': last } })

/** Subscribes a 2025 session to a resource. */
export const subscribeInit = (headers: Record<string, string | undefined>, uri: string): Init =>
  postInit({ jsonrpc: '2.0', id: 1, method: 'resources/subscribe', params: { uri } }, headers)
