import type { LanguageModelV4GenerateResult, LanguageModelV4StreamPart } from '@ai-sdk/provider'
import { describe, expect, it } from 'vitest'
import { isComplete, isLasting, replay, toKept, toRecording, type RecordedPart } from '../../src/ai-sdk/recording.ts'
import { FakeClock } from '../../src/testing/index.ts'
import { collect, finish, finished, NO_USAGE, textParts } from './support.ts'

const at = (parts: readonly LanguageModelV4StreamPart[], everyMs = 10): RecordedPart[] =>
  parts.map((part, index) => [index * everyMs, part])

describe('an answer', () => {
  const result: LanguageModelV4GenerateResult = {
    content: [
      { type: 'text', text: 'Yes' },
      { type: 'tool-call', toolCallId: 'c1', toolName: 'add', input: '{"a":1}' },
    ],
    finishReason: finished('tool-calls'),
    usage: NO_USAGE,
    warnings: [{ type: 'other', message: 'seed ignored' }],
    providerMetadata: { one: { logprobs: [1] } },
    structuredOutputText: '',
    request: { body: { huge: true } },
    response: {
      id: 'r1',
      modelId: 'm',
      timestamp: new Date(5),
      headers: { 'set-cookie': 'secret' },
      body: { huge: 1 },
    },
  }

  it('is kept with its tool calls, usage, finish reason, warnings and metadata; without bodies and headers', () => {
    const { request: _request, response: _response, ...rest } = result
    expect(toKept({ result, ms: 7 })).toEqual({
      ms: 7,
      result: { ...rest, response: { id: 'r1', modelId: 'm', timestamp: new Date(5) } },
    })
  })

  it.each(['error', 'interrupted', 'content-filter', 'other'] as const)(
    'that ended with "%s" is not kept',
    (reason) => {
      expect(isLasting({ result: { ...result, finishReason: finished(reason) }, ms: 7 })).toBe(false)
    },
  )

  it('that asks for an approval is not kept', () => {
    const content = [{ type: 'tool-approval-request' as const, approvalId: 'a', toolCallId: 'c1' }]
    expect(isLasting({ result: { ...result, content }, ms: 7 })).toBe(false)
  })
})

describe('a stream', () => {
  const parts = [...textParts('Hello', ' there'), finish()]

  it('is kept when it is complete, without pings', () => {
    const complete = { parts: at([...textParts('a'), { type: 'ping' }, finish()]), ms: 50 }
    expect(isComplete(complete)).toBe(true)
    expect(toRecording(complete).parts.map(([, { type }]) => type)).toEqual([
      'stream-start',
      'text-start',
      'text-delta',
      'text-end',
      'finish',
    ])
  })

  it.each<[string, LanguageModelV4StreamPart[]]>([
    ['was cut off', parts.slice(0, -1)],
    ['was filtered', [...parts.slice(0, -1), finish('content-filter')]],
    ['holds an error', [{ type: 'error', error: 'e' }, ...parts]],
    ['holds raw chunks', [{ type: 'raw', rawValue: {} }, ...parts]],
  ])('that %s is not kept', (_what, given) => {
    expect(isComplete({ parts: at(given), ms: 50 })).toBe(false)
  })

  it('is replayed at once, the same but for a mark at its end', async () => {
    const recording = { parts: at(parts), ms: 50 }
    const replayed = await collect(replay(recording, 'collapsed', new FakeClock(), new AbortController().signal))
    expect(replayed).toEqual([
      ...parts.slice(0, -1),
      { ...parts.at(-1), providerMetadata: { holdfast: { cached: true } } },
    ])
  })

  it('is replayed in the time that it took, where that is asked for', async () => {
    const clock = new FakeClock()
    const seen: string[] = []
    const recording = { parts: at(parts, 100), ms: 500 }
    const done = (async () => {
      for await (const { type } of replay(recording, 'kept', clock, new AbortController().signal)) seen.push(type)
    })()
    await clock.advance(0)
    expect(seen).toEqual(['stream-start'])
    await clock.advance(250)
    expect(seen).toEqual(['stream-start', 'text-start', 'text-delta'])
    await clock.advance(250)
    await done
    expect(seen.at(-1)).toBe('finish')
  })

  it('ends with its reader', async () => {
    const clock = new FakeClock()
    const controller = new AbortController()
    const parts = replay({ parts: at([...textParts('a'), finish()], 100), ms: 500 }, 'kept', clock, controller.signal)
    await parts.next()
    const next = parts.next()
    const reason = new Error('gone')
    controller.abort(reason)
    await expect(next).rejects.toBe(reason)
  })
})
