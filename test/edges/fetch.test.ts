import { afterEach, describe, expect, it } from 'vitest'
import { MemoryStateStore } from '../../src/backends/memory/state-store.ts'
import {
  createRuntime,
  defineServer,
  defineTool,
  type Context,
  type Runtime,
  type RuntimeOptions,
} from '../../src/index.ts'
import { internalsOf } from '../../src/compose/runtime.ts'
import { systemClock } from '../../src/ports/clock.ts'
import { BASE_HEADERS, legacy, modern, modernHeaders, type Json } from './support/messages.ts'
import { QUIET } from './support/transports.ts'

let deed: (ctx: Context) => unknown
const server = defineServer({
  name: 'edges',
  version: '1.0.0',
  tools: [
    defineTool({
      name: 'do',
      description: 'Does what a test wants',
      offloadBytes: false,
      run: (_args, ctx) => deed(ctx) as never,
    }),
  ],
})
let runtime: Runtime
afterEach(() => runtime.close())
const start = async (options: RuntimeOptions = {}): Promise<void> => {
  runtime = await createRuntime(server, { ...QUIET, ...options })
}
const message = modern('tools/call', { name: 'do', arguments: {}, _meta: { progressToken: 'p' } })
const request = (init: RequestInit & { duplex?: 'half' } = {}): Request =>
  new Request('http://127.0.0.1/mcp', {
    method: 'POST',
    headers: modernHeaders(message),
    body: JSON.stringify(message),
    ...init,
  })
const codeOf = async (response: Response): Promise<unknown> =>
  ((await response.json()) as { error: { data: Json } }).error.data.code
const kernel = (): ReturnType<typeof internalsOf>['kernel'] => internalsOf(runtime).kernel
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

describe('a body through fetch', () => {
  it('that is too large is refused, and is told so', async () => {
    await start({ maxBodyBytes: 1000 })
    let isCancelled = false
    const body = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(new Uint8Array(400)),
      cancel: () => void (isCancelled = true),
    })
    const response = await runtime.fetch(request({ body, duplex: 'half' }))
    expect(response.status).toBe(413)
    expect(await codeOf(response)).toBe('body_too_large')
    // Who sends it need not go on.
    await expect.poll(() => isCancelled).toBe(true)
  })

  it('that never ends is refused in time', async () => {
    await start({ bodyTimeoutMs: 100 })
    const response = await runtime.fetch(request({ body: new ReadableStream(), duplex: 'half' }))
    expect(response.status).toBe(408)
    expect(await codeOf(response)).toBe('body_too_slow')
  })

  it('that breaks off is the client’s affair', async () => {
    await start()
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        controller.enqueue(new Uint8Array(4))
        controller.error(new Error('gone'))
      },
    })
    const response = await runtime.fetch(request({ body, duplex: 'half' }))
    expect(response.status).toBeGreaterThanOrEqual(400)
    expect(response.status).toBeLessThan(500)
  })
})

describe('a client of fetch that leaves', () => {
  it('before the answer cancels its call', async () => {
    await start()
    const client = new AbortController()
    let signal: AbortSignal | undefined
    deed = (ctx) => new Promise((resolve) => (signal = ctx.signal).addEventListener('abort', resolve))
    void runtime.fetch(request({ signal: client.signal }))
    await expect.poll(() => signal).toBeDefined()
    client.abort()
    await expect.poll(() => kernel().runningCount).toBe(0)
    expect(signal!.aborted).toBe(true)
  })

  it('while it reads a stream cancels its call', async () => {
    await start()
    deed = (ctx) => {
      ctx.progress(1)
      return new Promise((resolve) => ctx.signal.addEventListener('abort', resolve))
    }
    const response = await runtime.fetch(request())
    const reader = response.body!.getReader()
    await reader.read()
    await reader.cancel()
    await expect.poll(() => kernel().runningCount).toBe(0)
  })

  it.each(['the signal of its request', 'its stream'])(
    'while its GET stream is opened takes no place (by %s)',
    async (how) => {
      const held = Promise.withResolvers<void>()
      const asked = Promise.withResolvers<void>()
      let isHeld = false
      class SlowStore extends MemoryStateStore {
        override async getMany(keys: readonly string[]): Promise<(Uint8Array | undefined)[]> {
          if (isHeld) {
            asked.resolve()
            await held.promise
          }
          return super.getMany(keys)
        }
      }
      await start({ state: new SlowStore(systemClock), resumeTtlMs: 1 })
      const initialize = legacy('initialize', { protocolVersion: '2025-11-25', capabilities: {} })
      const { headers } = await runtime.fetch(request({ headers: BASE_HEADERS, body: JSON.stringify(initialize) }))
      isHeld = true
      const client = new AbortController()
      const opening = runtime.fetch(
        new Request('http://127.0.0.1/mcp', {
          headers: { accept: 'text/event-stream', 'mcp-session-id': headers.get('mcp-session-id')! },
          signal: client.signal,
        }),
      )
      await asked.promise
      if (how !== 'its stream') client.abort()
      held.resolve()
      const { body } = await opening
      if (how === 'its stream') await body!.cancel()
      await expect.poll(() => kernel().openStreamCount, { timeout: 5000 }).toBe(0)
    },
  )

  it('in effect, since it does not read, is cut, and its call ends', async () => {
    await start()
    deed = async ({ progress, signal }) => {
      for (let n = 1; !signal.aborted; n++) {
        progress(n, undefined, 'x'.repeat(10_000))
        await turn()
      }
      return 'done'
    }
    const response = await runtime.fetch(request())
    await expect.poll(() => kernel().runningCount, { timeout: 10_000 }).toBe(0)
    await expect(response.text()).rejects.toThrow('too slow')
  })

  it('not at all, and reads, gets the whole of a big answer', async () => {
    await start()
    const text = 'x'.repeat(12 * 1024 * 1024)
    deed = async ({ progress }) => {
      progress(1)
      await turn()
      return text
    }
    const response = await runtime.fetch(request())
    expect((await response.text()).length).toBeGreaterThan(text.length)
  })
})
