// What clients do to a cluster, each operation whole in itself.
import {
  initializeMessage,
  modernInit,
  open,
  postInit,
  type Message,
  type SseEvent,
  type Stream,
} from '../clients/raw.ts'
import { Disturbed, disturbance, hasResult, unwanted, type Init, type Operation } from './load.ts'

const REVISION = '2025-11-25'
/** A resumed stream is silent until the sign of life of the node that ran it has run out, 15 s after the last one. */
const STREAM_TIMEOUT_MS = 20_000
/** A repeat waits for the first call's outcome; the claim of one whose node has died runs out after 30 s. */
const CLAIM_TIMEOUT_MS = 45_000

/** 2026-07-28: a call that needs no state. */
export async function statelessCall({ step, random }: Operation): Promise<void> {
  const a = Math.floor(random() * 1000)
  const reply = await step(() => modernInit('tools/call', { name: 'add', arguments: { a, b: 1 } }))
  expectText(reply.message?.result, String(a + 1))
}

/** 2026-07-28: a call that takes a while. */
export const longCall =
  (ms: number) =>
  async ({ step }: Operation): Promise<void> => {
    const reply = await step(() => modernInit('tools/call', { name: 'work', arguments: { ms } }))
    expectText(reply.message?.result, 'done')
  }

/** 2026-07-28: a call with an idempotency key, and its repeat, which must get the same outcome. */
export async function idempotentCall({ step }: Operation): Promise<void> {
  const key = crypto.randomUUID()
  const make = (): Init => {
    const init = modernInit('tools/call', { name: 'token' })
    const body = JSON.parse(init.body as string) as { params: { _meta: Record<string, unknown> } }
    body.params._meta['dev.holdfast/idempotencyKey'] = key
    return { ...init, body: JSON.stringify(body) }
  }
  const first = await step(make, hasResult, CLAIM_TIMEOUT_MS)
  const second = await step(make, hasResult, CLAIM_TIMEOUT_MS)
  expectText(second.message?.result, (first.message!.result!['content'] as { text: string }[])[0]!.text)
}

/** 2026-07-28: a call that asks the user; its legs go to any node, and a repeated leg gets the first one's outcome. */
export async function questionOfCall({ step }: Operation): Promise<void> {
  const meta = { clientCapabilities: { elicitation: {} } }
  const asked = await step(() => modernInit('tools/call', { name: 'ask' }, { meta }))
  const { inputRequests, requestState } = asked.message!.result!
  const before = (inputRequests as { color: { params: { message: string } } }).color.params.message
  const inputResponses = { color: { action: 'accept', content: { color: 'blue' } } }
  const leg = (): Init => modernInit('tools/call', { name: 'ask', inputResponses, requestState }, { meta })
  const first = textOf((await step(leg, hasResult, CLAIM_TIMEOUT_MS)).message?.result)
  if (!first?.startsWith(`${before} blue `)) throw new Error(`answered ${first} after ${before}`)
  expectText((await step(leg, hasResult, CLAIM_TIMEOUT_MS)).message?.result, first)
}

/** The headers of a session that was just opened. */
async function openSession({ step }: Operation, capabilities: object = {}): Promise<Record<string, string>> {
  const initialize = initializeMessage(REVISION)
  const reply = await step(() => postInit({ ...initialize, params: { ...initialize.params, capabilities } }, {}))
  const headers = { 'mcp-session-id': reply.headers.get('mcp-session-id')!, 'mcp-protocol-version': REVISION }
  await step(
    () => postInit({ jsonrpc: '2.0', method: 'notifications/initialized' }, headers),
    ({ status }) => status === 202,
  )
  return headers
}

const callInit = (headers: Record<string, string>, name: string, args: object, meta: object = {}): Init =>
  postInit({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name, arguments: args, _meta: meta } }, headers)

/** 2025-11-25: a session of a few calls, ended by its client; after that it is gone on every node. */
export const sessionCalls =
  ({ checkEnd = true, pauseMs = 20 } = {}) =>
  async (operation: Operation): Promise<void> => {
    const { step } = operation
    const headers = await openSession(operation)
    for (let turn = 0; turn < 6; turn++) {
      const reply = await step(() => callInit(headers, 'add', { a: turn, b: 1 }))
      expectText(reply.message?.result, String(turn + 1))
      await new Promise((resolve) => setTimeout(resolve, pauseMs))
    }
    await step(
      () => ({ method: 'DELETE', headers }),
      ({ status }) => status === 204 || status === 404, // 404: the first try's answer was lost
    )
    if (!checkEnd) return
    for (let turn = 0; turn < 3; turn++)
      await step(
        () => callInit(headers, 'add', { a: 1, b: 1 }),
        ({ status }) => status === 404,
      )
  }

/** 2025-11-25: a call whose stream is resumed wherever it breaks, without a gap and without a repeat. */
export const streamedCall =
  (to: number, everyMs: number) =>
  async (operation: Operation): Promise<void> => {
    const headers = await openSession(operation)
    await operation.attempt(async () => {
      const steps: unknown[] = []
      const init = callInit(headers, 'count', { to, everyMs }, { progressToken: 'p' })
      await follow(operation, headers, init, async ({ method, params }) => {
        if (method === 'notifications/progress') steps.push(params!['progress'])
      })
      const expected = Array.from({ length: to }, (_, index) => index + 1)
      if (steps.join() !== expected.join()) throw new Disturbed('bad', `the steps seen were ${steps.join()}`)
    })
  }

/** 2025-11-25: a call that asks the user on its stream; the answer goes to any node. */
export async function questionOfSession(operation: Operation): Promise<void> {
  const headers = await openSession(operation, { elicitation: {} })
  await operation.attempt(async () => {
    const asked: string[] = []
    const result = await follow(operation, headers, callInit(headers, 'ask', {}), async ({ id, method, params }) => {
      if (method !== 'elicitation/create') return
      asked.push(params!['message'] as string)
      const answer = { jsonrpc: '2.0', id, result: { action: 'accept', content: { color: 'blue' } } }
      await operation.step(
        () => postInit(answer, headers),
        ({ status }) => status === 202,
      )
    })
    const text = textOf(result)
    if (asked.length !== 1 || !text?.startsWith(`${asked[0]} blue `))
      throw new Disturbed('bad', `asked ${asked.length} times, answered ${text}`)
  })
}

/** Reads a call's stream to its result, resuming it wherever it breaks. */
async function follow(
  operation: Operation,
  headers: Record<string, string>,
  init: Init,
  onMessage: (message: Message) => Promise<void>,
): Promise<Record<string, unknown>> {
  let stream = await opened(operation.url, init)
  let last: string | undefined
  try {
    for (;;) {
      const event = await nextOf(stream)
      if (event?.id !== undefined) last = event.id
      const message = event?.json
      if (message?.result !== undefined) return message.result
      if (message?.error !== undefined) throw unwanted(stream.status, message, JSON.stringify(message))
      if (message !== undefined) await onMessage(message)
      if (event !== undefined) continue
      if (last === undefined) throw new Disturbed('broken', 'the stream broke before there was anything to resume')
      await stream.close()
      stream = await resumed(operation, headers, last)
    }
  } finally {
    await stream.close()
  }
}

/** Resumes a stream as clients do, which try again for a while before they give the call up. */
async function resumed({ url, random }: Operation, headers: Record<string, string>, last: string): Promise<Stream> {
  const deadline = performance.now() + STREAM_TIMEOUT_MS
  for (;;) {
    try {
      return await opened(url, {
        method: 'GET',
        headers: { ...headers, accept: 'text/event-stream', 'last-event-id': last },
      })
    } catch (error) {
      if (!(error instanceof Disturbed) || error.outcome === 'bad' || performance.now() > deadline) throw error
    }
    await new Promise((resolve) => setTimeout(resolve, 100 + random() * 100))
  }
}

async function opened(url: string, init: Init): Promise<Stream> {
  let stream: Stream
  try {
    stream = await open(url, init)
  } catch (error) {
    throw disturbance(error, STREAM_TIMEOUT_MS)
  }
  if (stream.status === 200 && stream.headers.get('content-type')?.startsWith('text/event-stream')) return stream
  const text = await stream.text()
  throw unwanted(stream.status, text.startsWith('{') ? JSON.parse(text) : undefined, text)
}

/** The next event; `undefined` where the stream ended or broke. */
async function nextOf(stream: Stream): Promise<SseEvent | undefined> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new Disturbed('late', `the stream was silent for ${STREAM_TIMEOUT_MS} ms`)),
      STREAM_TIMEOUT_MS,
    )
  })
  try {
    return await Promise.race([stream.next().catch(() => undefined), late])
  } catch (error) {
    await stream.close()
    throw error
  } finally {
    clearTimeout(timer)
  }
}

const textOf = (result: Record<string, unknown> | undefined): string | undefined =>
  (result?.['content'] as { text?: string }[] | undefined)?.[0]?.text

function expectText(result: Record<string, unknown> | undefined, expected: string): void {
  const text = textOf(result)
  if (text !== expected) throw new Error(`answered ${JSON.stringify(text)} in place of ${JSON.stringify(expected)}`)
}
