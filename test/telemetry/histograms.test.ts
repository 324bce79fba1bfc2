import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { RuntimeTelemetry } from '../../src/telemetry/telemetry.ts'
import { IDLE } from './fixture.ts'
import { registerSdk, type Sdk } from './otel.ts'
import { ERAS, open, TRANSPORTS, type Era, type TransportName } from './transports.ts'

/** Of the convention, for `mcp.server.operation.duration` and `mcp.server.session.duration` alike. */
const BOUNDS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300]

let sdk: Sdk
beforeAll(() => {
  sdk = registerSdk()
})
afterAll(() => sdk.shutdown())

/** What the convention has the metric of these requests say: attributes of the series, and how often. */
function expectedSeries(transport: TransportName, era: Era): [Record<string, unknown>, number][] {
  const common = {
    'mcp.protocol.version': era,
    ...(transport === 'http'
      ? { 'network.transport': 'tcp', 'network.protocol.name': 'http', 'network.protocol.version': '1.1' }
      : { 'network.transport': transport === 'stdio' ? 'pipe' : 'inproc' }),
  }
  const call = { ...common, 'mcp.method.name': 'tools/call', 'gen_ai.operation.name': 'execute_tool' }
  const unknown = { 'error.type': '-32602', 'rpc.response.status_code': '-32602' }
  const missing = era === '2026-07-28' ? '-32602' : '-32002'
  return [
    [{ ...call, 'gen_ai.tool.name': 'add' }, 3],
    [{ ...call, 'gen_ai.tool.name': 'refuse', 'error.type': 'tool_error' }, 1],
    [{ ...call, 'gen_ai.tool.name': '_unknown', ...unknown }, 2],
    [{ ...common, 'mcp.method.name': 'prompts/get', 'gen_ai.prompt.name': 'greet "you"' }, 1],
    [{ ...common, 'mcp.method.name': 'prompts/get', 'gen_ai.prompt.name': '_unknown', ...unknown }, 1],
    [{ ...common, 'mcp.method.name': 'resources/read' }, 1],
    [
      {
        ...common,
        'mcp.method.name': 'resources/read',
        'error.type': missing,
        'rpc.response.status_code': missing,
      },
      1,
    ],
  ]
}

describe.each(TRANSPORTS.flatMap((transport) => ERAS.map((era) => ({ transport, era }))))(
  'mcp.server.operation.duration of $era over $transport',
  ({ transport, era }) => {
    test('has the unit, the bounds and exactly the attributes of the convention, and counts each request once', async () => {
      const wire = await open(transport, era)
      for (let times = 0; times < 3; times++)
        await wire.request('tools/call', { name: 'add', arguments: { a: 1, b: times } })
      await wire.request('tools/call', { name: 'refuse' })
      await wire.request('tools/call', { name: 'made-up-1' })
      await wire.request('tools/call', { name: 'made-up-2' })
      await wire.request('prompts/get', { name: 'greet "you"', arguments: { name: 'Ada' } })
      await wire.request('prompts/get', { name: 'made-up-3' })
      await wire.request('resources/read', { uri: 'doc://guide' })
      await wire.request('resources/read', { uri: 'doc://page/1' })
      await wire.close()

      const histogram = (await sdk.histogram('mcp.server.operation.duration'))!
      expect(histogram.descriptor).toMatchObject({ unit: 's', type: 'HISTOGRAM' })
      const ofWire = histogram.dataPoints.filter(
        ({ attributes }) =>
          attributes['mcp.protocol.version'] === era &&
          attributes['network.transport'] === { http: 'tcp', stdio: 'pipe', memory: 'inproc' }[transport] &&
          ['tools/call', 'prompts/get', 'resources/read'].includes(String(attributes['mcp.method.name'])),
      )
      for (const { value } of ofWire) {
        expect(value.buckets.boundaries).toEqual(BOUNDS)
        expect(value.sum).toBeGreaterThan(0)
        expect(value.sum).toBeLessThan(10) // seconds, not milliseconds
      }
      const told = ofWire.map(({ attributes, value }) => [attributes, value.count])
      expect(told).toHaveLength(expectedSeries(transport, era).length)
      expect(told).toEqual(expect.arrayContaining(expectedSeries(transport, era)))
    })
  },
)

test('a session whose end was seen is recorded in seconds, with the attributes of the convention', async () => {
  const telemetry = await RuntimeTelemetry.create({ level: 'silent', fd: 1 }, IDLE)
  telemetry.sessionEnded({ durationSeconds: 42, protocolVersion: '2025-06-18', transport: 'stdio' })
  const histogram = (await sdk.histogram('mcp.server.session.duration'))!
  expect(histogram.descriptor).toMatchObject({ unit: 's', type: 'HISTOGRAM' })
  const points = histogram.dataPoints.filter(({ attributes }) => attributes['mcp.protocol.version'] === '2025-06-18')
  expect(points).toHaveLength(1)
  const [{ attributes, value }] = points as [(typeof points)[number]]
  expect(attributes).toEqual({ 'mcp.protocol.version': '2025-06-18', 'network.transport': 'pipe' })
  expect(value).toMatchObject({ count: 1, sum: 42, buckets: { boundaries: BOUNDS } })
  const { body } = await telemetry.metrics.render()
  expect(body).toContain(
    'mcp_server_session_duration_seconds_bucket{mcp_protocol_version="2025-06-18",network_transport="pipe",le="60"} 1',
  )
  await telemetry.close()
})

test.each(['http', 'stdio'] as const)('the end of a 2025 session over %s is recorded', async (transport) => {
  const wire = await open(transport, '2025-11-25')
  await wire.request('ping')
  await wire.end()
  const histogram = await sdk.histogram('mcp.server.session.duration')
  const network = { http: 'tcp', stdio: 'pipe', memory: 'inproc' }[transport]
  const points = histogram?.dataPoints.filter(({ attributes }) => attributes['network.transport'] === network)
  await wire.close()
  expect(points?.map(({ attributes }) => attributes['mcp.protocol.version'])).toContain('2025-11-25')
})
