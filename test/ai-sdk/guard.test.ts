import type { LanguageModelV4CallOptions, LanguageModelV4StreamPart } from '@ai-sdk/provider'
import { generateText, streamText, wrapLanguageModel } from 'ai'
import { MockLanguageModelV4 } from 'ai/test'
import { describe, expect, it } from 'vitest'
import { languageModelMiddleware, type LanguageModelOptions } from '../../src/ai-sdk/index.ts'
import { defineDependency, type DependencyOptions } from '../../src/index.ts'
import { answer, apiError, called, clientOf, finish, readAll, streamOf, textParts } from './support.ts'

const HOUR_MS = 3_600_000
const params: LanguageModelV4CallOptions = {
  prompt: [{ role: 'user', content: [{ type: 'text', text: 'How many?' }] }],
  temperature: 0,
}
const never = new Promise<never>(() => undefined)

/** A model behind a guard that repeats at once. */
function modelOf(
  mock: MockLanguageModelV4,
  guard: Omit<DependencyOptions, 'name'> = {},
  options: LanguageModelOptions = {},
) {
  const dependency = defineDependency({
    name: 'llm',
    retry: { maxAttempts: 3, baseMs: 1, maxMs: 2 },
    retryBudget: false,
    ...guard,
  })
  return wrapLanguageModel({ model: mock, middleware: languageModelMiddleware({ dependency, ...options }) })
}

const generating = (reply: (call: number, options: LanguageModelV4CallOptions) => unknown): MockLanguageModelV4 => {
  const mock: MockLanguageModelV4 = new MockLanguageModelV4({
    doGenerate: async (options) => {
      const given = await reply(mock.doGenerateCalls.length, options)
      return answer(String(given))
    },
  })
  return mock
}

type Parts = Iterable<LanguageModelV4StreamPart> | AsyncIterable<LanguageModelV4StreamPart>
const streaming = (parts: (call: number) => Parts | Promise<Parts>): MockLanguageModelV4 => {
  const mock: MockLanguageModelV4 = new MockLanguageModelV4({
    doStream: async () => streamOf(await parts(mock.doStreamCalls.length)),
  })
  return mock
}

describe('a guarded call', () => {
  it('is repeated by the guard, and by nothing else', async () => {
    const passing = generating((call) => {
      if (call < 3) throw apiError(500)
      return 'at last'
    })
    // The AI SDK's own two retries stand.
    const ask = (mock: MockLanguageModelV4) => async (): Promise<string> =>
      (await generateText({ model: modelOf(mock), prompt: 'a' })).text
    expect(await called(await clientOf(ask(passing)))).toBe('at last')
    expect(passing.doGenerateCalls.length).toBe(3)
    const failing = generating(() => {
      throw apiError(500)
    })
    await expect(called(await clientOf(ask(failing)))).rejects.toThrow('failed unexpectedly')
    expect(failing.doGenerateCalls.length).toBe(3)
  })

  it.each([400, 401, 404, 422])('that was answered %i is not repeated', async (status) => {
    const mock = generating(() => {
      throw apiError(status)
    })
    const client = await clientOf(async () => (await generateText({ model: modelOf(mock), prompt: 'a' })).text)
    await expect(called(client)).rejects.toThrow()
    expect(mock.doGenerateCalls.length).toBe(1)
  })

  it('is not repeated after an unclear end where the provider runs tools of its own', async () => {
    const mock = generating(() => {
      throw apiError(500)
    })
    const model = modelOf(mock)
    const tools = [{ type: 'provider' as const, id: 'one.shell' as const, name: 'shell', args: {} }]
    const client = await clientOf(async () => (await model.doGenerate({ ...params, tools })).finishReason)
    await expect(called(client)).rejects.toThrow()
    expect(mock.doGenerateCalls.length).toBe(1)
  })

  it('ends when its time is up, though the model heeds no signal, in words that a model can read', async () => {
    const model = modelOf(
      generating(() => never),
      { timeoutMs: 30, retry: false },
    )
    const client = await clientOf(async () => (await generateText({ model, prompt: 'a' })).text)
    await expect(called(client)).rejects.toThrow('llm did not answer within 30 ms.')
  })

  it('fails at once while the breaker is open; what is cached is given all the same', async () => {
    let isDown = false
    const mock = generating(() => {
      if (isDown) throw apiError(500)
      return 'known'
    })
    const model = modelOf(
      mock,
      { retry: false, breaker: { consecutiveFailures: 2, openMs: 60_000 } },
      { cache: { ttlMs: HOUR_MS } },
    )
    const client = await clientOf(
      async (_ctx, { prompt }) => (await generateText({ model, prompt: prompt as string, temperature: 0 })).text,
    )
    expect(await called(client, { prompt: 'a' })).toBe('known')
    isDown = true
    for (const prompt of ['b', 'c']) await expect(called(client, { prompt })).rejects.toThrow('failed unexpectedly')
    const calls = mock.doGenerateCalls.length
    await expect(called(client, { prompt: 'd' })).rejects.toThrow(/^llm is not available now: .* Try again in \d+ s/)
    expect(mock.doGenerateCalls.length).toBe(calls)
    expect(await called(client, { prompt: 'a' })).toBe('known')
  })

  it('leaves the call of others alone when the one who began it goes away', async () => {
    const gate = Promise.withResolvers<string>()
    const mock = generating(() => gate.promise)
    const model = modelOf(mock, {}, { cache: { ttlMs: HOUR_MS } })
    const client = await clientOf(async () => (await generateText({ model, prompt: 'a', temperature: 0 })).text)
    const leaving = new AbortController()
    const first = called(client, {}, { signal: leaving.signal })
    await expect.poll(() => mock.doGenerateCalls.length).toBe(1)
    const second = called(client)
    await new Promise((resolve) => setImmediate(resolve))
    leaving.abort()
    await expect(first).rejects.toThrow()
    gate.resolve('for both')
    expect(await second).toBe('for both')
    expect(mock.doGenerateCalls.length).toBe(1)
  })
})

describe('a guarded stream', () => {
  const whole = [...textParts('Two', '.'), finish()]

  it.each<[string, (call: number) => Parts | Promise<Parts>]>([
    ['says nothing in time', async (call) => (call === 1 ? never : whole)],
    [
      'begins, and says nothing in time',
      async function* (call: number) {
        yield* whole.slice(0, 2)
        if (call === 1) await never
        yield* whole.slice(2)
      } as never,
    ],
    ['begins with an error', (call) => (call === 1 ? [whole[0]!, { type: 'error', error: apiError(529) }] : whole)],
    ['is refused', (call) => (call === 1 ? Promise.reject(apiError(503)) : whole)],
  ])('that %s is asked for again, and its reader sees the second alone', async (_what, parts) => {
    const mock = streaming(parts)
    const model = modelOf(mock, { timeoutMs: 40, deadlineMs: 5_000 })
    const client = await clientOf(async () => readAll((await model.doStream(params)).stream))
    expect(await called(client)).toEqual(whole)
    expect(mock.doStreamCalls.length).toBe(2)
  })

  it('may last as long as it likes while parts come', async () => {
    const mock = streaming(async function* () {
      for (const part of [...textParts('a', 'b', 'c', 'd', 'e'), finish()]) {
        await new Promise((resolve) => setTimeout(resolve, 200))
        yield part
      }
    } as never)
    // All of it takes longer than either, no part of it does.
    const model = modelOf(mock, { timeoutMs: 1_200, deadlineMs: 1_200 })
    const client = await clientOf(async () => (await readAll((await model.doStream(params)).stream)).length)
    expect(await called(client)).toBe(9)
  })

  it('that stops in its midst is broken off, counted against the model, and not asked for again', async () => {
    const mock = streaming(async function* () {
      yield* whole.slice(0, 3)
      await never
    } as never)
    const model = modelOf(mock, { timeoutMs: 40, breaker: { consecutiveFailures: 1, openMs: 60_000 } })
    const seen: string[] = []
    const client = await clientOf(async () => {
      const { stream } = streamText({ model, prompt: 'a', onError: () => undefined })
      for await (const part of stream) {
        if (part.type === 'text-delta') seen.push(part.text)
        if (part.type === 'error') throw part.error
      }
    })
    await expect(called(client)).rejects.toThrow('llm did not answer within 40 ms.')
    expect(seen).toEqual(['Two'])
    await expect(called(client)).rejects.toThrow('llm is not available now')
    expect(mock.doStreamCalls.length).toBe(1)
    expect(client.runtime.dependencies.list()).toMatchObject([{ name: 'llm', breaker: 'open', running: 0 }])
  })

  it('that holds an error in its midst is counted against the model', async () => {
    const mock = streaming(() => [...whole.slice(0, 3), { type: 'error', error: apiError(500) }, finish('error')])
    const model = modelOf(mock, { breaker: { consecutiveFailures: 1, openMs: 60_000 } })
    const client = await clientOf(async () => (await readAll((await model.doStream(params)).stream)).length)
    expect(await called(client)).toBe(5)
    await expect(called(client)).rejects.toThrow('llm is not available now')
  })

  it('keeps its place among the calls until it has ended', async () => {
    const gate = Promise.withResolvers<void>()
    const mock = streaming(async function* (call: number) {
      yield* whole.slice(0, 3)
      if (call === 1) await gate.promise
      yield* whole.slice(3)
    } as never)
    const model = modelOf(mock, { retry: false, bulkhead: { maxConcurrent: 1, maxQueue: 0 } })
    const client = await clientOf(async () => (await readAll((await model.doStream(params)).stream)).length)
    const first = called(client)
    await expect.poll(() => client.runtime.dependencies.list()[0]?.running).toBe(1)
    await expect(called(client)).rejects.toThrow('as many calls of it are under way as may be')
    gate.resolve()
    expect(await first).toBe(whole.length)
    expect(await called(client)).toBe(whole.length)
  })

  it('ends with its last reader, and gives its place back', async () => {
    const mock = streaming(async function* () {
      yield* whole.slice(0, 3)
      await never
    } as never)
    const model = modelOf(mock, { breaker: { consecutiveFailures: 1 } })
    const client = await clientOf(async () => {
      const reader = (await model.doStream(params)).stream.getReader()
      await reader.read()
      await reader.cancel()
    })
    await called(client)
    await expect
      .poll(() => client.runtime.dependencies.list())
      .toMatchObject([{ name: 'llm', breaker: 'closed', running: 0 }])
    expect(mock.doStreamCalls[0]!.abortSignal!.aborted).toBe(true)
  })
})
