import fc from 'fast-check'
import { describe, expect, it, test } from 'vitest'
import { callKey } from '../../src/ai-sdk/call-key.ts'

const prompt = [{ role: 'user', content: [{ type: 'text', text: 'How many?' }] }]
const params = { prompt, temperature: 0, maxOutputTokens: 100 }
const key = (changes: object = {}, of: object = {}): string =>
  callKey({ operation: 'generate', provider: 'one', modelId: 'small', params: { ...params, ...changes }, ...of })

describe('the key of a call', () => {
  it.each<[string, object, object?]>([
    ['the prompt', { prompt: [{ role: 'user', content: [{ type: 'text', text: 'How much?' }] }] }],
    ['the role of a message', { prompt: [{ role: 'system', content: [{ type: 'text', text: 'How many?' }] }] }],
    ['options of a message', { prompt: [{ ...prompt[0], providerOptions: { one: { cacheControl: 'x' } } }] }],
    ['a tool', { tools: [{ type: 'function', name: 'add', inputSchema: { type: 'object' } }] }],
    ['what a tool takes', { tools: [{ type: 'function', name: 'add', inputSchema: { type: 'array' } }] }],
    ['the choice of a tool', { toolChoice: { type: 'required' } }],
    ['the response format', { responseFormat: { type: 'json' } }],
    ['the schema of the response', { responseFormat: { type: 'json', schema: { type: 'object' } } }],
    ['the temperature', { temperature: 0.2 }],
    ['no temperature', { temperature: undefined }],
    ['the length', { maxOutputTokens: 101 }],
    ['the seed', { seed: 1 }],
    ['topP', { topP: 0.5 }],
    ['topK', { topK: 5 }],
    ['the penalties', { presencePenalty: 1 }],
    ['where it stops', { stopSequences: ['.'] }],
    ['how it reasons', { reasoning: 'high' }],
    ["the provider's options", { providerOptions: { one: { effort: 'high' } } }],
    ['raw chunks', { includeRawChunks: true }],
    ['a header that may change the answer', { headers: { 'x-beta': 'thinking' } }],
    ['a header that is named like a credential and is none', { headers: { 'x-token-budget': '100' } }],
    ['a session at the provider', { headers: { 'x-session-id': 'of one conversation' } }],
    ['something that no version knows of yet', { verbosity: 'low' }],
    ['the operation', {}, { operation: 'stream' }],
    ['the provider', {}, { provider: 'two' }],
    ['the model', {}, { modelId: 'large' }],
  ])('differs with %s', (_what, changes, of) => {
    expect(key(changes, of)).not.toBe(key())
  })

  it.each<[string, object]>([
    ['the signal', { abortSignal: new AbortController().signal }],
    ['credentials', { headers: { Authorization: 'Bearer a', 'x-api-key': 'b', Cookie: 'c', 'x-goog-api-key': 'd' } }],
    [
      'other credentials',
      {
        headers: {
          'Proxy-Authorization': 'a',
          'x-auth-token': 'b',
          'x-amz-security-token': 'c',
          'api-key': 'd',
          'Ocp-Apim-Subscription-Key': 'e',
          'cf-access-client-secret': 'f',
        },
      },
    ],
    ['traces', { headers: { traceparent: '00-1-2-01', 'x-request-id': 'r', 'user-agent': 'ai/7.0.173' } }],
    ['what is undefined', { seed: undefined, headers: undefined }],
    ['the order of properties', { temperature: 0, prompt, maxOutputTokens: 100 }],
  ])('is the same whatever %s', (_what, changes) => {
    expect(key(changes)).toBe(key())
  })

  it('tells bytes, texts, dates and URLs apart by what they hold', () => {
    const file = (data: unknown): string =>
      key({ prompt: [{ role: 'user', content: [{ type: 'file', mediaType: 'image/png', data }] }] })
    const keys = [
      file({ type: 'data', data: Uint8Array.of(1, 2) }),
      file({ type: 'data', data: Uint8Array.of(1, 3) }),
      file({ type: 'data', data: 'AQI=' }),
      file({ type: 'url', url: new URL('https://example.com/a.png') }),
      file({ type: 'url', url: new URL('https://example.com/b.png') }),
    ]
    expect(new Set(keys).size).toBe(keys.length)
    expect(file({ type: 'data', data: Buffer.from([1, 2]) })).toBe(keys[0])
  })

  it('shows neither the prompt nor a secret', () => {
    expect(key({ providerOptions: { one: { apiKey: 'secret-value' } } })).toMatch(/^[\w-]{43}$/)
  })

  it.each([
    [
      'a function',
      { providerOptions: { one: { transform: () => 1 } } },
      '`params.3.providerOptions.one.transform` is a function',
    ],
    ['a Map', { providerOptions: { one: { settings: new Map() } } }, 'is a Map'],
    ['a symbol', { providerOptions: { one: { mark: Symbol('x') } } }, 'is a symbol'],
  ])('can not be made of %s, and says where it stands', (_what, changes, message) => {
    expect(() => key(changes)).toThrow(message.replace('params.3.', 'params[3].'))
  })
})

const json = fc.jsonValue({ maxDepth: 4 })
test('equal values have equal keys, and different ones different keys', () => {
  fc.assert(
    fc.property(json, json, (one, other) => {
      const isSame = JSON.stringify(sorted(one)) === JSON.stringify(sorted(other))
      expect(key({ extra: one }) === key({ extra: other })).toBe(isSame)
      expect(key({ extra: structuredClone(one) })).toBe(key({ extra: one }))
    }),
    { numRuns: 300 },
  )
})

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .map(([name, inner]): [string, unknown] => [name, sorted(inner)])
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  )
}
