import type { LanguageModelV4CallOptions, LanguageModelV4GenerateResult } from '@ai-sdk/provider'
import { generateText, wrapLanguageModel } from 'ai'
import { MockLanguageModelV4 } from 'ai/test'
import { describe, expect, it } from 'vitest'
import { languageModelMiddleware, type LanguageModelOptions } from '../../src/ai-sdk/index.ts'
import { MemoryEventBus } from '../../src/backends/memory/event-bus.ts'
import { MemoryStateStore } from '../../src/backends/memory/state-store.ts'
import { systemClock } from '../../src/ports/clock.ts'
import { answer, called, clientOf, finished, metricsOf, usageOf } from './support.ts'

const HOUR_MS = 3_600_000
const prices = { currency: 'USD', perMillionTokens: { small: { input: 1, output: 10 } } }

type Answers = (
  options: LanguageModelV4CallOptions,
  call: number,
) => LanguageModelV4GenerateResult | Promise<LanguageModelV4GenerateResult>

function modelOf(answers: Answers, options: LanguageModelOptions = { cache: { ttlMs: HOUR_MS } }) {
  const mock: MockLanguageModelV4 = new MockLanguageModelV4({
    modelId: 'small',
    doGenerate: async (given) => answers(given, mock.doGenerateCalls.length),
  })
  return { mock, model: wrapLanguageModel({ model: mock, middleware: languageModelMiddleware(options) }) }
}
const ask = { prompt: 'How many?', temperature: 0, maxRetries: 0 }

describe('a cached answer', () => {
  it('is the same as the first: content, tool calls, usage, finish reason, warnings, metadata', async () => {
    const first = answer('Two.', {
      content: [
        { type: 'reasoning', text: 'one and one', providerMetadata: { one: { signature: 's' } } },
        { type: 'text', text: 'Two.' },
        { type: 'tool-call', toolCallId: 'c1', toolName: 'add', input: '{"a":1}' },
        { type: 'file', mediaType: 'image/png', data: { type: 'data', data: Uint8Array.of(1, 2) } },
        { type: 'source', sourceType: 'url', id: 's', url: 'https://example.com' },
      ],
      finishReason: { unified: 'tool-calls', raw: 'tool_use' },
      usage: usageOf(100, 20),
      warnings: [{ type: 'unsupported', feature: 'seed' }],
      providerMetadata: { one: { logprobs: [0.5] } },
      response: { id: 'r', modelId: 'small-1', timestamp: new Date(5) },
    })
    const { mock, model } = modelOf(() => structuredClone(first))
    const given: LanguageModelV4GenerateResult[] = []
    const params = {
      prompt: [{ role: 'user' as const, content: [{ type: 'text' as const, text: 'Q' }] }],
      temperature: 0,
    }
    const client = await clientOf(async () => void given.push(await model.doGenerate(params)))
    for (let time = 0; time < 3; time++) await called(client)
    expect(mock.doGenerateCalls.length).toBe(1)
    expect(given[0]).toEqual(first)
    const { providerMetadata, ...rest } = first
    for (const again of given.slice(1)) {
      expect(again).toEqual({ ...rest, providerMetadata: { ...providerMetadata, holdfast: { cached: true } } })
    }
    expect(given[1]!.content).not.toBe(given[2]!.content)
  })

  it('is given only to the same question, and only of a model that does not sample', async () => {
    const { mock, model } = modelOf((_options, call) => answer(`answer ${call}`))
    const client = await clientOf(async (_ctx, { temperature, prompt }) => {
      const { text } = await generateText({
        model,
        maxRetries: 0,
        prompt: prompt as string,
        ...(temperature !== undefined && { temperature: temperature as number }),
      })
      return text
    })
    expect(await called(client, { prompt: 'a', temperature: 0 })).toBe('answer 1')
    expect(await called(client, { prompt: 'b', temperature: 0 })).toBe('answer 2')
    expect(await called(client, { prompt: 'a', temperature: 0 })).toBe('answer 1')
    for (const temperature of [0.1, undefined]) {
      const args = { prompt: 'a', ...(temperature !== undefined && { temperature }) }
      expect(await called(client, args)).not.toBe(await called(client, args))
    }
    expect(mock.doGenerateCalls.length).toBe(6)
  })

  it('is given of a model that samples where that is asked for', async () => {
    const { mock, model } = modelOf(() => answer('Two.'), { cache: { ttlMs: HOUR_MS, sampled: true } })
    const client = await clientOf(async () => (await generateText({ model, prompt: 'a', temperature: 0.7 })).text)
    expect([await called(client), await called(client)]).toEqual(['Two.', 'Two.'])
    expect(mock.doGenerateCalls.length).toBe(1)
  })

  it.each(['error', 'content-filter', 'other'] as const)('is none that ended with "%s"', async (reason) => {
    const { mock, model } = modelOf(() => answer('Half', { finishReason: finished(reason) }))
    const client = await clientOf(async () => (await generateText({ model, ...ask })).text)
    await called(client)
    await called(client)
    expect(mock.doGenerateCalls.length).toBe(2)
  })

  it("is its caller's alone; everybody's where that is said; nobody's of anonymous callers", async () => {
    const state = new MemoryStateStore(systemClock)
    const runtime = { state }
    for (const [scope, calls] of [
      ['principal', [1, 1, 2, 3, 4]],
      ['public', [5, 5, 5, 5, 5]],
    ] as const) {
      const counts: number[] = []
      let count = calls[0] - 1
      const { model } = modelOf(() => answer(String(++count)), { cache: { ttlMs: HOUR_MS, scope } })
      const run = async (): Promise<string> => (await generateText({ model, ...ask, prompt: scope })).text
      const ann = await clientOf(run, { runtime })
      const bob = await clientOf(run, { runtime, principal: { subject: 'bob' } })
      const nobody = await clientOf(run, { runtime, principal: undefined as never })
      for (const client of [ann, ann, bob, nobody, nobody]) counts.push(Number(await called(client)))
      expect(counts).toEqual(calls)
    }
  })

  it('is computed once, however many ask at once, on whichever node', async () => {
    const [state, bus] = [new MemoryStateStore(systemClock), new MemoryEventBus()]
    const gate = Promise.withResolvers<void>()
    const { mock, model } = modelOf(async () => {
      await gate.promise
      return answer('Two.')
    })
    const run = async (): Promise<string> => (await generateText({ model, ...ask })).text
    const clients = [await clientOf(run, { runtime: { state, bus } }), await clientOf(run, { runtime: { state, bus } })]
    const all = Promise.all(Array.from({ length: 40 }, (_, index) => called(clients[index % 2]!)))
    await expect.poll(() => mock.doGenerateCalls.length).toBe(1)
    gate.resolve()
    expect(new Set(await all)).toEqual(new Set(['Two.']))
    expect(mock.doGenerateCalls.length).toBe(1)
  })

  it('goes on for the others when the one who asked first goes away', async () => {
    const gate = Promise.withResolvers<void>()
    const { mock, model } = modelOf(async ({ abortSignal }) => {
      await gate.promise
      abortSignal?.throwIfAborted()
      return answer('Two.')
    })
    const client = await clientOf(async () => (await generateText({ model, ...ask })).text)
    const leaving = new AbortController()
    const first = called(client, {}, { signal: leaving.signal })
    await expect.poll(() => mock.doGenerateCalls.length).toBe(1)
    const second = called(client)
    await expect.poll(() => client.runtime.isReady).toBe(true)
    await new Promise((resolve) => setImmediate(resolve))
    leaving.abort()
    await expect(first).rejects.toThrow()
    gate.resolve()
    expect(await second).toBe('Two.')
    expect(mock.doGenerateCalls.length).toBe(1)
  })

  it('of last time is given while the model fails, where that is allowed', async () => {
    let isDown = false
    const { model } = modelOf(
      () => {
        if (isDown) throw new Error('model is down')
        return answer('Two.')
      },
      { cache: { ttlMs: 1, staleIfErrorMs: HOUR_MS } },
    )
    const client = await clientOf(async () => (await generateText({ model, ...ask })).text)
    expect(await called(client)).toBe('Two.')
    isDown = true
    await new Promise((resolve) => setTimeout(resolve, 5)) // its millisecond is over
    expect(await called(client)).toBe('Two.')
  })
})

describe('what models use and what is spared', () => {
  it('is told in tokens, money and time', async () => {
    const { model } = modelOf(() => answer('Two.', { usage: usageOf(1_000, 200) }), {
      cache: { ttlMs: HOUR_MS },
      prices,
    })
    const client = await clientOf(async () => (await generateText({ model, ...ask })).text)
    for (let time = 0; time < 3; time++) await called(client)
    const lines = await metricsOf(client)
    expect(lines.filter((line) => !line.startsWith('holdfast_llm_saved'))).toEqual([
      'holdfast_llm_calls_total{model="small",operation="generate",outcome="cached"} 2',
      'holdfast_llm_calls_total{model="small",operation="generate",outcome="called"} 1',
      'holdfast_llm_cost_total{model="small",currency="USD",source="cached"} 0.006',
      'holdfast_llm_cost_total{model="small",currency="USD",source="model"} 0.003',
      'holdfast_llm_tokens_total{model="small",kind="input",source="cached"} 2000',
      'holdfast_llm_tokens_total{model="small",kind="input",source="model"} 1000',
      'holdfast_llm_tokens_total{model="small",kind="output",source="cached"} 400',
      'holdfast_llm_tokens_total{model="small",kind="output",source="model"} 200',
    ])
    const saved = lines.find((line) => line.startsWith('holdfast_llm_saved_seconds_total{model="small"}'))
    expect(Number(saved!.split(' ')[1])).toBeGreaterThan(0)
  })

  it('is told of calls that failed', async () => {
    const { model } = modelOf(() => {
      throw new Error('model is down')
    })
    const client = await clientOf(async () => (await generateText({ model, ...ask })).text)
    await expect(called(client)).rejects.toThrow()
    expect(await metricsOf(client)).toEqual([
      'holdfast_llm_calls_total{model="small",operation="generate",outcome="failed"} 1',
    ])
  })
})

describe('limits on the tokens of models', () => {
  const limits = [{ per: 'principal', limit: 1_000, windowMs: HOUR_MS, unit: 'llm-tokens' }] as const

  it('refuse a call before it is made, in words that the model can read, and take nothing for what is cached', async () => {
    const { mock, model } = modelOf((_options, call) => answer(String(call), { usage: usageOf(300, 100) }))
    const client = await clientOf(
      async (_ctx, { prompt }) =>
        (await generateText({ model, ...ask, prompt: prompt as string, maxOutputTokens: 500 })).text,
      { limits },
    )
    expect(await called(client, { prompt: 'a' })).toBe('1')
    for (let time = 0; time < 20; time++) expect(await called(client, { prompt: 'a' })).toBe('1')
    expect(await called(client, { prompt: 'b' })).toBe('2')
    await expect(called(client, { prompt: 'c' })).rejects.toThrow(
      /The limit "principal-3600s-llm-tokens" \(1000 in 3600 s for each principal\) is used up. Try again in \d+/,
    )
    expect(mock.doGenerateCalls.length).toBe(2)
  })

  it('get back all of what a failed call has not used', async () => {
    const { mock, model } = modelOf((_options, call) => {
      if (call < 5) throw new Error('model is down')
      return answer('now')
    })
    const client = await clientOf(async () => (await generateText({ model, ...ask, maxOutputTokens: 900 })).text, {
      limits,
    })
    for (let time = 1; time < 5; time++) await expect(called(client)).rejects.toThrow('failed unexpectedly')
    expect(await called(client)).toBe('now')
    expect(mock.doGenerateCalls.length).toBe(5)
  })
})

describe('outside a handler', () => {
  it('a model is called as if it were not wrapped', async () => {
    const { mock, model } = modelOf(() => answer('Two.'))
    expect((await generateText({ model, ...ask })).text).toBe('Two.')
    expect((await generateText({ model, ...ask })).text).toBe('Two.')
    expect(mock.doGenerateCalls.length).toBe(2)
  })
})

describe('the middleware refuses', () => {
  it.each<[object, string]>([
    [{ cach: {} }, 'cach'],
    [{ cache: {} }, '`cache.ttlMs` is undefined'],
    [{ cache: { ttlMs: 5, staleMs: -1 } }, '`cache.staleMs` is -1'],
    [{ cache: { ttlMs: 5, scope: 'all' } }, '`cache.scope` is "all"'],
    [{ cache: { ttlMs: 5, timing: 'slow' } }, '`cache.timing` is "slow"'],
    [{ cache: { ttlMs: 5, temperature: 1 } }, 'temperature'],
    [{ dependency: { name: 'llm' } }, 'defineDependency'],
    [
      { prices: { currency: 'USD', perMillionTokens: { m: { input: '1' } } } },
      '`prices.perMillionTokens["m"].input` is "1"',
    ],
  ])('%j', (options, message) => {
    expect(() => languageModelMiddleware(options)).toThrow(message)
  })
})
