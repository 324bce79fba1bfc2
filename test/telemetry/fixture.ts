import { propagation, trace } from '@opentelemetry/api'
import * as z from 'zod'
import { definePrompt, defineResource, defineServer, defineTool, toolError } from '../../src/index.ts'
import type { Gauges } from '../../src/telemetry/metrics.ts'

/** Gauges of a node that does nothing. */
export const IDLE: Gauges = {
  running: () => 0,
  abandoned: () => 0,
  runningAttempts: () => 0,
  abandonedAttempts: () => 0,
  queued: () => 0,
  pendingBodyBytes: () => 0,
  loopDelayMs: () => 0,
  openStreams: () => 0,
  isReady: () => true,
  limitDecisions: () => [],
  cacheMemory: () => ({ bytes: 0, count: 0, evictions: 0 }),
  isStateUp: () => true,
  dependencies: () => [],
}

/** A server that has one of everything that telemetry tells apart. */
export const server = defineServer({
  name: 'observed',
  version: '1.0.0',
  tools: [
    defineTool({
      name: 'add',
      description: 'Adds',
      input: z.object({ a: z.number(), b: z.number() }),
      run: ({ a, b }) => String(a + b),
    }),
    defineTool({
      name: 'refuse',
      description: 'Fails for a reason that the model should read',
      run: () => {
        throw toolError('The shelf is empty.')
      },
    }),
    defineTool({
      name: 'crash',
      description: 'Fails for a reason that nobody should read',
      run: async () => {
        await Promise.resolve()
        throw new Error('ER_ACCESS_DENIED: no access for app@10.0.0.7')
      },
    }),
    defineTool({
      name: 'wait',
      description: 'Waits until it is cancelled',
      run: (_args, { signal }) => new Promise((resolve) => signal.addEventListener('abort', () => resolve('late'))),
    }),
    defineTool({
      name: 'inside',
      description: 'Makes a span of its own, and reads the baggage',
      run: async () => {
        await new Promise((resolve) => setImmediate(resolve))
        trace.getTracer('handler').startSpan('work').end()
        return propagation.getActiveBaggage()?.getEntry('tenant')?.value ?? 'no baggage'
      },
    }),
    defineTool({
      name: 'log',
      description: 'Writes what it is given to the log',
      input: z.object({ fields: z.record(z.string(), z.unknown()).optional() }),
      run: ({ fields }, { log }) => {
        log.notice('the handler says', fields)
        return 'logged'
      },
    }),
  ],
  prompts: [
    definePrompt({
      name: 'greet "you"',
      arguments: z.object({ name: z.string() }),
      complete: { name: (value) => [`${value}a`] },
      get: ({ name }) => `Greet ${name}.`,
    }),
  ],
  resources: [
    defineResource({ uri: 'doc://guide', name: 'guide', read: () => 'The guide.' }),
    defineResource({ uriTemplate: 'doc://page/{page}', name: 'page', read: () => undefined }),
  ],
})
