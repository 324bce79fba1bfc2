import { SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import * as z from 'zod'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { defineDependency, defineServer, defineTool, type Context } from '../../src/index.ts'
import { connect } from '../../src/testing/index.ts'
import { createLogFile } from '../telemetry/log-file.ts'
import { registerSdk, type Sdk } from '../telemetry/otel.ts'
import { networkError } from './support.ts'

let sdk: Sdk
beforeAll(() => {
  sdk = registerSdk()
})
afterAll(() => sdk.shutdown())

const withTool = (run: (ctx: Context) => Promise<string>): ReturnType<typeof defineServer> =>
  defineServer({
    name: 'seen',
    version: '1.0.0',
    tools: [defineTool({ name: 'go', description: 'Goes', input: z.object({}), run: (_args, ctx) => run(ctx) })],
  })
const RETRY = { maxAttempts: 2, baseMs: 1, maxMs: 1 }

test('each use is a span within that of its call, with its retries as events, and what is done within it as its children', async () => {
  const crm = defineDependency({ name: 'crm', retry: RETRY })
  await using client = await connect(
    withTool((ctx) =>
      ctx.use(crm, (_signal, attempt) => {
        trace.getTracer('client').startSpan(`GET ${attempt}`).end()
        if (attempt === 1) throw networkError('ECONNREFUSED')
        return 'done'
      }),
    ),
  )
  sdk.spans()
  expect((await client.callTool('go')).text).toBe('done')
  const spans = sdk.spans()
  const find = (name: string): (typeof spans)[number] => spans.find((span) => span.name === name)!
  const use = find('use crm')
  expect(use).toMatchObject({
    kind: SpanKind.INTERNAL,
    attributes: { 'holdfast.dependency': 'crm', 'holdfast.dependency.outcome': 'ok' },
    status: { code: SpanStatusCode.UNSET },
  })
  expect(use.parentSpanContext?.spanId).toBe(find('tools/call go').spanContext().spanId)
  expect(use.events).toMatchObject([
    { name: 'retry', attributes: { attempt: 1, error: 'Error: It failed: ECONNREFUSED' } },
  ])
  for (const name of ['GET 1', 'GET 2']) expect(find(name).parentSpanContext?.spanId).toBe(use.spanContext().spanId)
})

test('a use that fails has the outcome as its error type, and the error noted', async () => {
  const crm = defineDependency({ name: 'crm', retry: false })
  await using client = await connect(withTool((ctx) => ctx.use(crm, () => Promise.reject(networkError('ECONNRESET')))))
  sdk.spans()
  await client.callTool('go')
  expect(sdk.spans().find((span) => span.name === 'use crm')).toMatchObject({
    attributes: { 'error.type': 'failed', 'holdfast.dependency.outcome': 'failed' },
    status: { code: SpanStatusCode.ERROR },
    events: [{ name: 'exception', attributes: { 'exception.message': 'It failed: ECONNRESET' } }],
  })
})

test('metrics tell how uses ended, what was repeated, and where breaker and bulkhead are; the log that the breaker opened', async () => {
  const log = createLogFile()
  const crm = defineDependency({
    name: 'crm',
    retry: RETRY,
    retryBudget: { ratio: 0, perSecond: 0.1 },
    breaker: { consecutiveFailures: 4 },
    fallback: () => 'fallback',
  })
  const going = Promise.withResolvers<string>()
  let work: () => Promise<string> = async () => 'up'
  await using client = await connect(
    withTool((ctx) => ctx.use(crm, () => work())),
    { runtime: { logLevel: 'info', logFd: log.fd } },
  )
  await client.callTool('go')
  work = () => going.promise
  const slow = client.callTool('go')
  work = () => Promise.reject(networkError('ECONNREFUSED'))
  for (let call = 0; call < 3; call++) await client.callTool('go')
  expect((await client.callTool('go')).text).toBe('fallback')
  const { body } = await client.runtime.metrics()
  going.resolve('slow')
  await slow
  const lines = body
    .split('\n')
    .filter((line) => line.startsWith('holdfast_dependency_') && !/_(bucket|sum)/.test(line))
  expect(lines).toEqual([
    'holdfast_dependency_retries_total{dependency="crm"} 1',
    'holdfast_dependency_retries_refused_total{dependency="crm"} 1',
    'holdfast_dependency_fallbacks_total{dependency="crm"} 4',
    'holdfast_dependency_breaker_openings_total{dependency="crm"} 1',
    'holdfast_dependency_duration_seconds_count{dependency="crm",outcome="ok"} 1',
    'holdfast_dependency_duration_seconds_count{dependency="crm",outcome="failed"} 3',
    'holdfast_dependency_duration_seconds_count{dependency="crm",outcome="open"} 1',
    'holdfast_dependency_breaker_open{dependency="crm"} 1',
    'holdfast_dependency_running{dependency="crm"} 1',
    'holdfast_dependency_queued{dependency="crm"} 0',
  ])
  expect(await log.line(({ dependency }) => dependency === 'crm')).toMatchObject({
    level: 40,
    msg: 'The dependency is left alone: too many calls of it have failed.',
  })
})
