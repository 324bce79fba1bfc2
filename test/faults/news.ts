// Streams that stay open all along, and what is told on them of changes at the other node.
import { setTimeout as sleep } from 'node:timers/promises'
import { modernInit, open, type Stream } from '../clients/raw.ts'
import { call } from './calls.ts'
import type { FaultNodes } from './nodes.ts'
import { OK, outcomeOf, type Use } from './outcome.ts'

/** What is told comes at once, or is taken for lost. */
const HEARD_WITHIN_MS = 1500

/** One stream at each node. */
export async function prepareNews({ all }: FaultNodes, stack: AsyncDisposableStack): Promise<Use> {
  const ears = await Promise.all(all.map(({ url }) => Ear.open(url)))
  for (const ear of ears) stack.use(ear)
  return async (node) => {
    const ear = ears[1 - node]!
    if (ear.hasEnded) return { code: 'stream ended' }
    const before = ear.heard
    const told = outcomeOf(await call(all[node]!.url, 'touch'))
    if (told.code !== 'ok') return told
    for (const untilMs = performance.now() + HEARD_WITHIN_MS; performance.now() < untilMs; await sleep(10))
      if (ear.heard > before) return OK
    return { code: ear.hasEnded ? 'stream ended' : 'unheard' }
  }
}

class Ear implements AsyncDisposable {
  heard = 0
  hasEnded = false
  readonly #stream: Stream
  readonly #reading: Promise<void>

  private constructor(stream: Stream) {
    this.#stream = stream
    this.#reading = this.#read()
  }

  static async open(url: string): Promise<Ear> {
    const notifications = { resourceSubscriptions: ['board://one'] }
    const stream = await open(url, modernInit('subscriptions/listen', { notifications }))
    if (stream.status !== 200) throw new Error(`A stream was refused: ${await stream.text()}`)
    return new Ear(stream)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stream.close()
    await this.#reading
  }

  async #read(): Promise<void> {
    try {
      for (let event = await this.#stream.next(); event !== undefined; event = await this.#stream.next())
        if (event.json?.method === 'notifications/resources/updated') this.heard++
    } catch {
      // One that broke has ended, too.
    }
    this.hasEnded = true
  }
}
