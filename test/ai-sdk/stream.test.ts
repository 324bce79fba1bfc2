import type { LanguageModelV4CallOptions, LanguageModelV4StreamPart } from '@ai-sdk/provider'
import { streamText, wrapLanguageModel } from 'ai'
import { MockLanguageModelV4 } from 'ai/test'
import { describe, expect, it } from 'vitest'
import { languageModelMiddleware, type LanguageModelOptions } from '../../src/ai-sdk/index.ts'
import { MemoryEventBus } from '../../src/backends/memory/event-bus.ts'
import { MemoryStateStore } from '../../src/backends/memory/state-store.ts'
import { systemClock } from '../../src/ports/clock.ts'
import { called, clientOf, finish, metricsOf, readAll, streamOf, textParts, usageOf } from './support.ts'

const HOUR_MS = 3_600_000
type Parts = Iterable<LanguageModelV4StreamPart> | AsyncIterable<LanguageModelV4StreamPart>
type Streams = (options: LanguageModelV4CallOptions, call: number) => Parts

function modelOf(streams: Streams, options: LanguageModelOptions = { cache: { ttlMs: HOUR_MS } }) {
  const mock: MockLanguageModelV4 = new MockLanguageModelV4({
    modelId: 'small',
    doStream: async (given) => streamOf(streams(given, mock.doStreamCalls.length)),
  })
  return { mock, model: wrapLanguageModel({ model: mock, middleware: languageModelMiddleware(options) }) }
}

const params: LanguageModelV4CallOptions = {
  prompt: [{ role: 'user', content: [{ type: 'text', text: 'How many?' }] }],
  temperature: 0,
}
const parts: LanguageModelV4StreamPart[] = [
  { type: 'stream-start', warnings: [{ type: 'other', message: 'w' }] },
  { type: 'response-metadata', id: 'r', modelId: 'small-1', timestamp: new Date(5) },
  { type: 'text-start', id: '1' },
  { type: 'text-delta', id: '1', delta: 'Two' },
  { type: 'text-delta', id: '1', delta: '.' },
  { type: 'text-end', id: '1' },
  { type: 'tool-input-start', id: 'c1', toolName: 'add' },
  { type: 'tool-input-delta', id: 'c1', delta: '{"a":1}' },
  { type: 'tool-input-end', id: 'c1' },
  { type: 'tool-call', toolCallId: 'c1', toolName: 'add', input: '{"a":1}' },
  finish('tool-calls', usageOf(100, 20)),
]
const marked = (given: readonly LanguageModelV4StreamPart[]): LanguageModelV4StreamPart[] => [
  ...given.slice(0, -1),
  { ...given.at(-1)!, providerMetadata: { holdfast: { cached: true } } } as LanguageModelV4StreamPart,
]

/** Parts that come as the test lets them. */
function controlled() {
  const queue: LanguageModelV4StreamPart[] = []
  let wake = (): void => undefined
  let end: 'open' | 'closed' | Error = 'open'
  const change = (work: () => void): void => {
    work()
    wake()
  }
  return {
    push: (...given: LanguageModelV4StreamPart[]) => change(() => void queue.push(...given)),
    close: () => change(() => void (end = 'closed')),
    fail: (error: Error) => change(() => void (end = error)),
    async *parts(signal?: AbortSignal): AsyncGenerator<LanguageModelV4StreamPart> {
      signal?.addEventListener('abort', () => wake(), { once: true })
      for (;;) {
        signal?.throwIfAborted()
        const part = queue.shift()
        if (part !== undefined) yield part
        else if (end === 'closed') return
        else if (end !== 'open') throw end
        else await new Promise<void>((resolve) => (wake = resolve))
      }
    },
  }
}

describe('a cached stream', () => {
  it('is replayed as a stream, the same but for a mark at its end', async () => {
    const { mock, model } = modelOf(() => parts)
    const given: LanguageModelV4StreamPart[][] = []
    const client = await clientOf(async () => void given.push(await readAll((await model.doStream(params)).stream)))
    for (let time = 0; time < 3; time++) await called(client)
    expect(mock.doStreamCalls.length).toBe(1)
    expect(given).toEqual([parts, marked(parts), marked(parts)])
  })

  it('is what the AI SDK reads text, usage and finish reason from', async () => {
    const { mock, model } = modelOf(() => [...textParts('Two', '.'), finish('stop', usageOf(100, 20))])
    const client = await clientOf(async () => {
      const result = streamText({ model, prompt: 'How many?', temperature: 0 })
      return [await result.text, await result.finishReason, (await result.usage).totalTokens]
    })
    expect(await called(client)).toEqual(['Two.', 'stop', 120])
    expect(await called(client)).toEqual(['Two.', 'stop', 120])
    expect(mock.doStreamCalls.length).toBe(1)
  })

  it('takes its time where that is asked for', async () => {
    const { model } = modelOf(
      async function* () {
        for (const part of [...textParts('a', 'b'), finish()]) {
          if (part.type === 'text-delta') await new Promise((resolve) => setTimeout(resolve, 40))
          yield part
        }
      },
      { cache: { ttlMs: HOUR_MS, timing: 'kept' } },
    )
    const client = await clientOf(async () => {
      const startedMs = performance.now()
      await readAll((await model.doStream(params)).stream)
      return performance.now() - startedMs
    })
    const first = (await called(client)) as number
    expect(await called(client)).toBeGreaterThan(70)
    expect(first).toBeGreaterThan(70)
  })

  it('is none that was cut off, broke, or held an error', async () => {
    const cases: Streams[] = [
      () => textParts('a'),
      async function* () {
        yield* textParts('a')
        throw new Error('connection lost')
      },
      () => [...textParts('a'), { type: 'error', error: new Error('overloaded') }, finish('error')],
      () => [...textParts('a'), finish('content-filter')],
    ]
    for (const streams of cases) {
      const { mock, model } = modelOf(streams)
      const client = await clientOf(async () => {
        await readAll((await model.doStream(params)).stream).catch(() => undefined)
      })
      await called(client)
      await called(client)
      expect(mock.doStreamCalls.length).toBe(2)
    }
  })

  it('breaks for its readers as it broke for the first', async () => {
    const source = controlled()
    const { mock, model } = modelOf((options) => source.parts(options.abortSignal))
    const read = async (): Promise<string> => {
      try {
        return JSON.stringify(await readAll((await model.doStream(params)).stream))
      } catch (error) {
        return (error as Error).message
      }
    }
    const client = await clientOf(read)
    const both = Promise.all([called(client), called(client)])
    source.push(...textParts('a'))
    await expect.poll(() => mock.doStreamCalls.length).toBe(1)
    source.fail(new Error('connection lost'))
    expect(await both).toEqual(['connection lost', 'connection lost'])
  })
})

describe('a stream that comes in', () => {
  it('is given on as it comes, and to everybody who asks meanwhile from its beginning', async () => {
    const source = controlled()
    const { mock, model } = modelOf((options) => source.parts(options.abortSignal))
    const seen: string[][] = []
    const client = await clientOf(async () => {
      const mine: string[] = []
      seen.push(mine)
      const reader = (await model.doStream(params)).stream.getReader()
      for (;;) {
        const { done, value } = await reader.read()
        if (done) return mine.join('')
        if (value.type === 'text-delta') mine.push(value.delta)
      }
    })
    const first = called(client)
    const [start, begin, one, two, end] = textParts('a', 'b') as [never, never, never, never, never]
    source.push(start, begin, one)
    await expect.poll(() => seen[0]).toEqual(['a'])
    const second = called(client)
    await expect.poll(() => seen[1]).toEqual(['a'])
    source.push(two, end, finish())
    source.close()
    expect([await first, await second]).toEqual(['ab', 'ab'])
    expect(mock.doStreamCalls.length).toBe(1)
    expect(await metricsOf(client, 'holdfast_llm_calls')).toEqual([
      'holdfast_llm_calls_total{model="small",operation="stream",outcome="called"} 1',
      'holdfast_llm_calls_total{model="small",operation="stream",outcome="waited"} 1',
    ])
  })

  it('goes on when the first reader goes away, and ends when the last one does; then it is not kept', async () => {
    const source = controlled()
    let ended: unknown
    const { mock, model } = modelOf((options, call) => {
      if (call > 1) return [...textParts('new'), finish()]
      options.abortSignal!.addEventListener('abort', () => (ended = options.abortSignal!.reason))
      return source.parts(options.abortSignal)
    })
    let reading = 0
    const client = await clientOf(async () => {
      const { stream } = await model.doStream(params)
      reading++
      return (await readAll(stream)).map((part) => (part.type === 'text-delta' ? part.delta : '')).join('')
    })
    source.push(...textParts('a').slice(0, 3))
    const [one, two] = [new AbortController(), new AbortController()]
    const first = called(client, {}, { signal: one.signal })
    const second = called(client, {}, { signal: two.signal })
    await expect.poll(() => reading).toBe(2)
    one.abort()
    await expect(first).rejects.toThrow()
    await new Promise((resolve) => setImmediate(resolve))
    expect(ended).toBe(undefined)
    two.abort()
    await expect(second).rejects.toThrow()
    await expect.poll(() => ended).toBeDefined()
    expect(await called(client)).toBe('new')
    expect(mock.doStreamCalls.length).toBe(2)
  })

  it('is waited for on another node, and replayed there', async () => {
    const [state, bus] = [new MemoryStateStore(systemClock), new MemoryEventBus()]
    const source = controlled()
    const one = modelOf((options) => source.parts(options.abortSignal))
    const two = modelOf(() => [...textParts('other'), finish()])
    const read = (model: typeof one.model) => async (): Promise<unknown> =>
      readAll((await model.doStream(params)).stream)
    const first = await clientOf(read(one.model), { runtime: { state, bus } })
    const second = await clientOf(read(two.model), { runtime: { state, bus } })
    const leading = called(first)
    await expect.poll(() => one.mock.doStreamCalls.length).toBe(1)
    const following = called(second)
    const given = [...textParts('a'), finish()]
    source.push(...given)
    source.close()
    expect(await leading).toEqual(given)
    expect(await following).toEqual(marked(given))
    expect(two.mock.doStreamCalls.length).toBe(0)
  })

  it('is not read along by who asks after its answer was invalidated', async () => {
    const sources = [controlled(), controlled()]
    const { mock, model } = modelOf((options, call) => sources[call - 1]!.parts(options.abortSignal), {
      cache: { ttlMs: HOUR_MS, tags: ['prices'] },
    })
    const client = await clientOf(async (ctx, { invalidates }) => {
      if (invalidates === true) return ctx.invalidate(['prices'])
      const given = await readAll((await model.doStream(params)).stream)
      return given.map((part) => (part.type === 'text-delta' ? part.delta : '')).join('')
    })
    const first = called(client)
    await expect.poll(() => mock.doStreamCalls.length).toBe(1)
    sources[0]!.push(...textParts('old'))
    await called(client, { invalidates: true })
    const second = called(client)
    await expect.poll(() => mock.doStreamCalls.length).toBe(2)
    sources[1]!.push(...textParts('new'), finish())
    sources[1]!.close()
    expect(await second).toBe('new')
    sources[0]!.push(finish())
    sources[0]!.close()
    expect(await first).toBe('old')
    expect(await called(client)).toBe('new')
    expect(mock.doStreamCalls.length).toBe(2)
  })

  it('that is not cached is one of its caller alone, and ends with it', async () => {
    let aborted = 0
    const { mock, model } = modelOf((options) => {
      options.abortSignal!.addEventListener('abort', () => aborted++)
      const source = controlled()
      source.push(...textParts('a').slice(0, 3))
      return source.parts(options.abortSignal)
    }, {})
    const client = await clientOf(async () => {
      const reader = (await model.doStream(params)).stream.getReader()
      await reader.read()
      await reader.cancel()
    })
    await called(client)
    await called(client)
    expect(mock.doStreamCalls.length).toBe(2)
    expect(aborted).toBe(2)
  })
})

describe('limits on the tokens of models', () => {
  it('take for a stream that breaks off what it has said so far', async () => {
    const limits = [{ per: 'principal', limit: 1_000, windowMs: HOUR_MS, unit: 'llm-tokens' }] as const
    const text = 'x'.repeat(2_000) // some 500 tokens
    const { model } = modelOf(() => textParts(text), {})
    const client = await clientOf(
      async () => (await readAll((await model.doStream({ ...params, maxOutputTokens: 900 })).stream)).length,
      { limits },
    )
    expect(await called(client)).toBe(4)
    await expect(called(client)).rejects.toThrow('is used up')
    expect((await metricsOf(client, 'holdfast_llm_tokens')).at(-1)).toMatch(/kind="output",source="model"} 500$/)
  })
})
