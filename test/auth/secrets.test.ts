import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { createApiKey } from '../../src/auth/api-keys.ts'
import { defineServer, defineTool, type Runtime } from '../../src/index.ts'
import { MemoryStateStore } from '../../src/backends/memory/state-store.ts'
import type { StateStore } from '../../src/index.ts'
import { systemClock } from '../../src/ports/clock.ts'
import { openSession } from '../clients/raw.ts'
import { createLogFile } from '../telemetry/log-file.ts'
import { registerSdk, type Sdk } from '../telemetry/otel.ts'
import { Issuer, json } from './issuer.ts'
import { bearer, call, modernRequest, serve } from './serving.ts'

let runtime: Runtime | undefined
let otel: Sdk | undefined
afterEach(async () => {
  await runtime?.close()
  await otel?.shutdown()
})

/** A store that notes everything that is put into it. */
function listening(seen: string[]): StateStore {
  const store = new MemoryStateStore(systemClock)
  return new Proxy(store, {
    get(target, property) {
      const value: unknown = Reflect.get(target, property)
      if (typeof value !== 'function') return value
      return (...args: unknown[]) => {
        seen.push(
          JSON.stringify(args, (_key, item: unknown) =>
            item instanceof Uint8Array ? Buffer.from(item).toString() : item,
          ) ?? '',
        )
        return (value as (...all: unknown[]) => unknown).apply(target, args)
      }
    },
  })
}

test('no credential reaches the log, a span, a metric, the store, a handler, another service, or an answer', async () => {
  const issuer = await new Issuer().start()
  // A service that a tool calls, as tools do.
  const upstreamSaw: string[] = []
  const upstream = createServer((request, response) => {
    upstreamSaw.push(JSON.stringify(request.headers))
    response.end('{}')
  }).listen(0, '127.0.0.1')
  await once(upstream, 'listening')
  const upstreamUrl = `http://127.0.0.1:${(upstream.address() as AddressInfo).port}`
  const handlerSaw: unknown[] = []
  const server = defineServer({
    name: 'careful',
    version: '1.0.0',
    tools: [
      defineTool({
        name: 'whoami',
        description: 'Calls another service',
        async run(_args, ctx) {
          handlerSaw.push({ principal: ctx.principal, client: ctx.client, keys: Object.keys(ctx) })
          ctx.log.info('called', { principal: ctx.principal })
          await (await fetch(upstreamUrl)).text()
          return 'done'
        },
      }),
      defineTool({ name: 'guarded', description: 'Needs a scope', scopes: ['more'], run: () => '' }),
    ],
  })
  const { key, entry } = createApiKey({ subject: 'robot' })
  const stored: string[] = []
  const log = createLogFile()
  otel = registerSdk()
  const introspection = { clientId: 'rs', clientSecret: 'sEcReT-of-the-client' }
  const made = await serve(
    () => ({
      logLevel: 'trace',
      logFd: log.fd,
      state: listening(stored),
      auth: { issuer: issuer.url, apiKeys: [entry], introspection },
    }),
    server,
  )
  runtime = made.runtime
  const { url } = made
  issuer.answers.set('/introspect', json({ error: 'no' }, 500))

  const answers: string[] = []
  const headersOfAnswers: string[] = []
  const note = async (response: Response): Promise<void> => {
    answers.push(await response.text())
    headersOfAnswers.push(JSON.stringify([...response.headers]))
  }
  const good = await issuer.token(url)
  const expired = await issuer.token(url, { claims: { exp: 1 } })
  const foreign = await issuer.token('https://other.example')
  const credentials = [good, expired, foreign, key, `${key}x`, 'opaque-sEcReT-token', `${good}x`, 'x'.repeat(9000)]
  for (const credential of credentials) {
    for (const name of ['whoami', 'guarded'])
      await note(await fetch(url, modernRequest('tools/call', { name, arguments: {} }, bearer(credential))))
    await note(await fetch(url, modernRequest('tools/list', {}, { 'x-api-key': credential })))
    await note(await fetch(`${url}?access_token=${credential}`, modernRequest('tools/list')))
    await note(await fetch(url, modernRequest('tools/list', {}, { authorization: credential })))
    await note(await fetch(url, modernRequest('tools/list', {}, { authorization: `Basic ${credential}` })))
  }
  const session = await openSession(url, '2025-11-25', bearer(good))
  await session.request('tools/call', { name: 'whoami', arguments: {} })
  answers.push(session.id)
  await session.end()
  expect((await call(url, bearer(good))).status).toBe(200)
  const metrics = await (await fetch(`${new URL(url).origin}/metrics`)).text()
  await log.line(({ msg, status }) => msg === 'request' && status === 200)
  await runtime.close()
  runtime = undefined
  upstream.closeAllConnections()
  upstream.close()
  await issuer.stop()

  // What should be there, is.
  expect(handlerSaw.length).toBeGreaterThan(2)
  expect(upstreamSaw.length).toBe(handlerSaw.length)
  expect(log.text()).toContain('could not be asked about a token')
  const spans = JSON.stringify(otel.spans().map(({ name, attributes, events }) => ({ name, attributes, events })))
  expect(spans).toContain('whoami')
  // What should not, is not: not whole, and no part of it that would be of use.
  const everywhere = {
    log: log.text(),
    spans,
    metrics,
    stored: stored.join(),
    handler: JSON.stringify(handlerSaw),
    upstream: upstreamSaw.join(),
    answers: answers.join(),
    headers: headersOfAnswers.join(),
  }
  const parts = [good, expired, foreign].flatMap((token) => token.split('.').slice(1))
  for (const [place, text] of Object.entries(everywhere))
    for (const secret of [...parts, key.slice(-43), 'sEcReT', 'x'.repeat(200)])
      expect(text.includes(secret), `${place} holds ${secret.slice(0, 20)}`).toBe(false)
})
