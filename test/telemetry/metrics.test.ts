import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, describe, expect, test } from 'vitest'
import { createRuntime, definePrompt, defineServer, defineTool, type Runtime } from '../../src/index.ts'
import { parseExposition, valueOf, type Family } from './exposition.ts'
import { server } from './fixture.ts'
import { open, openHttp, type Wire } from './transports.ts'

let wires: Wire[] = []
afterEach(async () => {
  for (const wire of wires) await wire.close()
  wires = []
})
async function opened(era: '2026-07-28' | '2025-11-25' = '2026-07-28'): Promise<{ wire: Wire; origin: string }> {
  return served(await createRuntime(server, { dataDir: false, logLevel: 'silent', drainDeadlineMs: 500 }), era)
}
async function served(runtime: Runtime, era: '2026-07-28' | '2025-11-25' = '2026-07-28') {
  const { url } = await runtime.listen({ port: 0 })
  const wire = await openHttp(runtime, era, url)
  wires.push(wire)
  return { wire, origin: new URL(url).origin }
}
async function scrape(origin: string): Promise<Map<string, Family>> {
  return parseExposition(await (await fetch(`${origin}/metrics`)).text())
}

describe('/metrics', () => {
  test('is strict Prometheus text, and each family that this package adds is there from the start', async () => {
    const { origin } = await opened()
    const response = await fetch(`${origin}/metrics`)
    expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8')
    expect(response.headers.get('cache-control')).toBe('no-store')
    const families = parseExposition(await response.text())
    expect(Object.fromEntries([...families.values()].map(({ name, type }) => [name, type]))).toMatchObject({
      holdfast_running_requests: 'gauge',
      holdfast_open_streams: 'gauge',
      holdfast_ready: 'gauge',
      holdfast_refusals_total: 'counter',
      holdfast_lenient_requests_total: 'counter',
      holdfast_slow_readers_total: 'counter',
      holdfast_degraded_total: 'counter',
      holdfast_dropped_notifications_total: 'counter',
      holdfast_idempotent_replays_total: 'counter',
      holdfast_dropped_log_lines_total: 'counter',
      mcp_server_operation_duration_seconds: 'histogram',
      mcp_server_session_duration_seconds: 'histogram',
      process_cpu_seconds_total: 'counter',
      process_resident_memory_bytes: 'gauge',
      nodejs_eventloop_lag_p99_seconds: 'gauge',
      nodejs_gc_duration_seconds: 'histogram',
    })
  })

  test('counts each request once, in the bucket of its duration', async () => {
    const { wire, origin } = await served(
      await createRuntime(
        defineServer({
          name: 'slow',
          version: '1.0.0',
          tools: [defineTool({ name: 'nap', description: 'Sleeps 60 ms', run: () => delay(60, 'awake') })],
        }),
        { dataDir: false, logLevel: 'silent' },
      ),
    )
    const name = 'mcp_server_operation_duration_seconds'
    for (let times = 1; times <= 3; times++) {
      await wire.request('tools/call', { name: 'nap' })
      const families = await scrape(origin)
      expect(valueOf(families, `${name}_count`, { gen_ai_tool_name: 'nap' })).toBe(times)
      expect(valueOf(families, `${name}_bucket`, { gen_ai_tool_name: 'nap', le: '0.05' })).toBe(0)
      expect(valueOf(families, `${name}_bucket`, { gen_ai_tool_name: 'nap', le: '5' })).toBe(times)
      expect(valueOf(families, `${name}_sum`, { gen_ai_tool_name: 'nap' })).toBeGreaterThan(0.055 * times)
    }
    const [sample] = (await scrape(origin)).get(name)!.samples
    expect(sample!.labels).toEqual({
      mcp_method_name: 'tools/call',
      gen_ai_tool_name: 'nap',
      gen_ai_operation_name: 'execute_tool',
      mcp_protocol_version: '2026-07-28',
      network_transport: 'tcp',
      network_protocol_name: 'http',
      network_protocol_version: '1.1',
      le: '0.01',
    })
  })

  test('escapes what a prompt is named', async () => {
    const awkward = 'say "hi" \\ {curly} \u00fc'
    const { wire, origin } = await served(
      await createRuntime(
        defineServer({
          name: 'awkward',
          version: '1.0.0',
          prompts: [definePrompt({ name: awkward, get: () => 'hi' })],
        }),
        { dataDir: false, logLevel: 'silent' },
      ),
      '2025-11-25',
    )
    await wire.request('prompts/get', { name: awkward })
    const families = await scrape(origin)
    expect(valueOf(families, 'mcp_server_operation_duration_seconds_count', { gen_ai_prompt_name: awkward })).toBe(1)
  })

  test.each(['2026-07-28', '2025-11-25'] as const)('a client of %s can make no series of its own', async (era) => {
    const { wire, origin } = await opened(era)
    const hostile = (index: number): string => `x${index}"} 1\nholdfast_ready 0`
    const attack = async (from: number): Promise<number> => {
      for (let index = from; index < from + 25; index++) {
        const name = hostile(index)
        await wire.request('tools/call', { name })
        await wire.request('prompts/get', { name })
        await wire.request('resources/read', { uri: `doc://page/${index}` })
        await wire.request(name)
        await wire.request('tools/list', {}, { headers: { 'mcp-protocol-version': `9999-01-${index}` } })
        await wire.request('tools/list', {}, { headers: { 'mcp-session-id': `s${index}` } })
        await wire.request('logging/setLevel', { level: name })
        await wire.request('tools/list', { cursor: name })
        await fetch(`${origin}/${encodeURIComponent(name)}`, { method: 'POST' }).then((answer) => answer.text())
      }
      const families = await scrape(origin)
      const own = [...families.values()].filter(({ name }) => /^(holdfast|mcp)_/.test(name))
      return own.reduce((sum, { samples }) => sum + samples.length, 0)
    }
    const after = await attack(0)
    expect(await attack(1000)).toBe(after)
  })

  test('refusals are counted by their code', async () => {
    const { origin } = await opened()
    const send = (body: string, headers: Record<string, string>): Promise<string> =>
      fetch(`${origin}/mcp`, { method: 'POST', headers, body }).then((answer) => answer.text())
    const json = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' }
    await send('{', json)
    await send('{', json)
    await send('{}', { 'content-type': 'text/plain' })
    await send('{}', { ...json, origin: 'https://evil.example' })
    const families = await scrape(origin)
    const refusals = families.get('holdfast_refusals_total')!.samples
    expect(Object.fromEntries(refusals.map(({ labels, value }) => [labels.code, value]))).toEqual({
      parse_error: 2,
      unsupported_media_type: 1,
      forbidden_origin: 1,
    })
  })

  test('running requests and open streams rise and fall', async () => {
    const { wire, origin } = await opened('2025-11-25')
    const gauges = async (): Promise<[number, number]> => {
      const families = await scrape(origin)
      return [valueOf(families, 'holdfast_running_requests'), valueOf(families, 'holdfast_open_streams')]
    }
    expect(await gauges()).toEqual([0, 0])
    const waiting = wire.request('tools/call', { name: 'wait' }, { id: 'waiting' })
    await expect.poll(gauges).toEqual([1, 0])
    await wire.notify('notifications/cancelled', { requestId: 'waiting' })
    await waiting
    await expect.poll(gauges).toEqual([0, 0])
  })

  test('two runtimes of one process keep their numbers apart, and share those of the process', async () => {
    const first = await opened()
    const second = await opened()
    await first.wire.request('tools/list')
    const name = 'mcp_server_operation_duration_seconds_count'
    expect(valueOf(await scrape(first.origin), name)).toBe(1)
    expect(valueOf(await scrape(second.origin), name)).toBe(0)
    expect(valueOf(await scrape(second.origin), 'process_resident_memory_bytes')).toBeGreaterThan(0)
  })
})

describe('probes', () => {
  test.each(['/livez', '/readyz', '/metrics'])('HEAD %s answers as GET does, without the body', async (path) => {
    const { origin } = await opened()
    const [head, get] = await Promise.all([fetch(origin + path, { method: 'HEAD' }), fetch(origin + path)])
    expect(head.status).toBe(200)
    expect(head.headers.get('content-type')).toBe(get.headers.get('content-type'))
    expect(Number(head.headers.get('content-length'))).toBeGreaterThan(0)
    expect(await head.text()).toBe('')
    expect((await get.text()).length).toBeGreaterThan(0)
  })

  test.each(['/livez', '/readyz', '/metrics'])('%s takes no other method', async (path) => {
    const { origin } = await opened()
    const response = await fetch(origin + path, { method: 'POST', body: 'x' })
    expect([response.status, response.headers.get('allow')]).toEqual([405, 'GET, HEAD'])
    await response.text()
  })

  test('while running calls end, it lives, but is not ready', async () => {
    const { wire, origin } = await opened('2025-11-25')
    const probe = (path: string): Promise<number | string> =>
      fetch(origin + path, { headers: { connection: 'close' } }).then(
        async (response) => (await response.text(), response.status),
        (error: Error) => (error.cause as { code: string }).code,
      )
    expect(await Promise.all(['/livez', '/readyz'].map(probe))).toEqual([200, 200])
    const waiting = wire.request('tools/call', { name: 'wait' }, { id: 'waiting' })
    await expect.poll(async () => valueOf(await scrape(origin), 'holdfast_running_requests')).toBe(1)
    const closing = wire.close()
    const during = await Promise.all(['/livez', '/readyz'].map(probe))
    await wire.notify('notifications/cancelled', { requestId: 'waiting' }).catch(() => undefined) // if it is heard
    await closing
    await waiting
    expect(during).toEqual([200, 503])
  })
})

test('a server on standard input counts as one over HTTP does', async () => {
  const wire = await open('stdio', '2025-11-25')
  wires.push(wire)
  await wire.request('tools/call', { name: 'add', arguments: { a: 1, b: 2 } })
  const { internalsOf } = await import('../../src/compose/runtime.ts')
  const { body } = await internalsOf(wire.runtime).telemetry.metrics.render()
  expect(
    valueOf(parseExposition(body), 'mcp_server_operation_duration_seconds_count', {
      gen_ai_tool_name: 'add',
      network_transport: 'pipe',
    }),
  ).toBe(1)
})
