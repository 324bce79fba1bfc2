import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { firstId, operandsOf, patch, postBytes, requestTemplate } from '../../bench/lib/load/request.ts'
import type { Wire } from '../../bench/lib/load/request.ts'

const modern: Wire = { revision: '2026-07-28', mode: 'envelope' }
const session: Wire = { revision: '2025-11-25', mode: 'session' }
const address = { port: 4000, path: '/mcp' }

function parts(bytes: Buffer): { headers: Map<string, string>; requestLine: string; body: Record<string, unknown> } {
  const [head = '', body = ''] = bytes.toString().split('\r\n\r\n')
  const [requestLine = '', ...lines] = head.split('\r\n')
  const headers = new Map(
    lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 2)]),
  )
  expect(Number(headers.get('content-length'))).toBe(Buffer.byteLength(body))
  return { headers, requestLine, body: JSON.parse(body) as Record<string, unknown> }
}

describe('postBytes', () => {
  test('describes a 2026-07-28 request in its headers and its _meta', () => {
    const call = { method: 'tools/call', id: 1, params: { name: 'add', arguments: {} } }
    const { headers, requestLine, body } = parts(postBytes(call, modern, address))
    expect(requestLine).toBe('POST /mcp HTTP/1.1')
    expect(headers.get('mcp-protocol-version')).toBe('2026-07-28')
    expect(headers.get('mcp-method')).toBe('tools/call')
    expect(headers.get('mcp-name')).toBe('add')
    expect(body).toMatchObject({
      jsonrpc: '2.0',
      id: 1,
      params: {
        name: 'add',
        _meta: {
          'io.modelcontextprotocol/protocolVersion': '2026-07-28',
          'io.modelcontextprotocol/clientCapabilities': {},
        },
      },
    })
  })

  test('carries the session of a 2025 call, and none of the 2026 marks', () => {
    const { headers, body } = parts(
      postBytes({ method: 'notifications/initialized' }, session, { ...address, sessionId: 'abc' }),
    )
    expect(headers.get('mcp-session-id')).toBe('abc')
    expect(headers.has('mcp-method')).toBe(false)
    expect(body).toEqual({ jsonrpc: '2.0', method: 'notifications/initialized' })
  })
})

describe('patch', () => {
  test.each([modern, session])('writes id and operands into the bytes and changes nothing else ($mode)', (wire) => {
    const template = requestTemplate('add', wire, address)
    const before = parts(template.bytes)
    fc.assert(
      fc.property(fc.integer({ min: firstId, max: 999_999_999 }), (id) => {
        patch(template, id)
        const { body, headers } = parts(template.bytes)
        const { a, b } = operandsOf(id)
        expect(headers).toEqual(before.headers)
        expect(body).toEqual({
          ...before.body,
          id,
          params: { ...(before.body['params'] as object), arguments: { a, b } },
        })
        expect(String(a + b)).toHaveLength(4)
      }),
    )
  })

  test('writes the id alone where there are no operands', () => {
    const template = requestTemplate('list', modern, address)
    patch(template, 123_456_789)
    expect(parts(template.bytes).body).toMatchObject({ id: 123_456_789, method: 'tools/list' })
  })
})
