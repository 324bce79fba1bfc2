// What clients do to a cluster, each operation whole in itself.
import { initializeMessage, modernInit, open, postInit, type SseEvent, type Stream } from '../clients/raw.ts'
import { Disturbed, disturbance, hasResult, unwanted, type Init, type Operation } from './load.ts'

const REVISION = '2025-11-25'
const STREAM_TIMEOUT_MS = 10_000
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

/** The headers of a session that was just opened. */
async function openSession({ step }: Operation): Promise<Record<string, string>> {
  const reply = await step(() => postInit(initializeMessage(REVISION), {}))
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
      const steps: number[] = []
      const init = callInit(headers, 'count', { to, everyMs }, { progressToken: 'p' })
      let stream = await opened(operation.url, init)
      let last: string | undefined
      for (;;) {
        const event = await nextOf(stream)
        if (event?.id !== undefined) last = event.id
        const message = event?.json
        if (message?.method === 'notifications/progress') steps.push(message.params!['progress'] as number)
        else if (message?.result !== undefined || message?.error !== undefined) {
          await stream.close()
          if (message.error !== undefined) throw unwanted(stream.status, message, JSON.stringify(message))
          const expected = Array.from({ length: to }, (_, index) => index + 1)
          if (steps.join() !== expected.join()) throw new Disturbed('bad', `the steps seen were ${steps.join()}`)
          return
        } else if (event === undefined) {
          await stream.close()
          if (last === undefined) throw new Disturbed('broken', 'the stream broke before there was anything to resume')
          stream = await resumed(operation, headers, last)
        }
      }
    })
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

function expectText(result: Record<string, unknown> | undefined, expected: string): void {
  const text = (result?.['content'] as { text?: string }[] | undefined)?.[0]?.text
  if (text !== expected) throw new Error(`answered ${JSON.stringify(text)} in place of ${JSON.stringify(expected)}`)
}
