import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { RuntimeTelemetry } from '../../src/telemetry/telemetry.ts'
import { IDLE } from './fixture.ts'
import { createLogFile } from './log-file.ts'

const ROOT = join(import.meta.dirname, '../..')
const REGISTRY = Symbol.for('opentelemetry.js.api.1')
const registry = globalThis as { [REGISTRY]?: unknown }

/** Runs a module in a process of its own; resolves to the packages that it loads. */
function packagesLoadedBy(code: string): string[] {
  const watch = `
    import { registerHooks } from 'node:module'
    registerHooks({
      load(url, context, next) {
        const name = /node_modules\\/((?:@[^/]+\\/)?[^/]+)/.exec(url)?.[1]
        if (name !== undefined) (globalThis.loaded ??= new Set()).add(name)
        return next(url, context)
      },
    })`
  const args = ['--input-type=module', '--import', `data:text/javascript,${encodeURIComponent(watch)}`]
  const report = '\nprocess.stdout.write(JSON.stringify([...(globalThis.loaded ?? [])]))'
  return JSON.parse(
    execFileSync(process.execPath, [...args, '-e', code + report], { cwd: ROOT }).toString(),
  ) as string[]
}

const SERVE = `
  const { createRuntime, defineServer, defineTool } = await import('holdfast')
  const server = defineServer({ name: 's', version: '1', tools: [defineTool({ name: 't', description: 'd', run: () => 'x' })] })
  const runtime = await createRuntime(server, { dataDir: false, logLevel: 'silent' })
  const { url } = await runtime.listen({ port: 0 })
  const scrape = async () => (await fetch(new URL('/metrics', url))).text()
  const call = () => fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}' }).then((r) => r.text())
  await call()`

describe('what is loaded', () => {
  test('nothing of OpenTelemetry where no SDK is registered, and no metrics library before somebody asks', () => {
    const loaded = packagesLoadedBy(`${SERVE}\nawait runtime.close()`)
    expect(loaded).toContain('lru-cache') // the watch works
    expect(loaded.filter((name) => name.startsWith('@opentelemetry/') || name === 'prom-client')).toEqual([])
  })

  test('the metrics library, once somebody asks', () => {
    expect(packagesLoadedBy(`${SERVE}\nawait scrape()\nawait runtime.close()`)).toContain('prom-client')
  })

  test('OpenTelemetry, where an SDK registered itself first', () => {
    const register = `
      const { trace } = await import('@opentelemetry/api')
      const { TracerProvider } = await import('@opentelemetry/sdk-trace')
      trace.setGlobalTracerProvider(new TracerProvider())`
    expect(packagesLoadedBy(`${register}\n${SERVE}\nawait runtime.close()`)).toContain('@opentelemetry/api')
  })
})

describe('an SDK that is registered through another version of the API', () => {
  afterEach(() => {
    delete registry[REGISTRY]
  })

  test('is not passed over in silence', async () => {
    registry[REGISTRY] = { version: '1.0.0', trace: { getTracer: () => undefined } }
    const log = createLogFile()
    const telemetry = await RuntimeTelemetry.create({ level: 'info', fd: log.fd }, IDLE)
    await telemetry.close()
    const lines = log.lines()
    expect(lines).toHaveLength(1)
    expect(lines[0]).toMatchObject({
      level: 40,
      msg: expect.stringMatching(/No spans: .*@opentelemetry\/api 1\.0\.0.*npm ls/),
    })
  })

  test('an access line has no trace then, where the client names none', async () => {
    registry[REGISTRY] = { version: '1.0.0', trace: { getTracer: () => undefined } }
    const log = createLogFile()
    const telemetry = await RuntimeTelemetry.create({ level: 'info', fd: log.fd }, IDLE)
    const operation = telemetry.start({
      requestId: 'r-1',
      method: 'tools/list',
      rpcId: 1,
      protocolVersion: '2026-07-28',
      sessionId: undefined,
      transport: 'memory',
      address: undefined,
      port: undefined,
      traceparent: undefined,
      tracestate: undefined,
      baggage: undefined,
    })
    telemetry.end(operation, {
      durationSeconds: 0.001,
      httpStatus: 200,
      errorType: undefined,
      rpcCode: undefined,
      message: undefined,
    })
    await telemetry.close()
    expect(log.lines().find(({ msg }) => msg === 'request')).toEqual({
      level: 30,
      time: expect.any(Number),
      requestId: 'r-1',
      method: 'tools/list',
      status: 200,
      durationMs: 1,
      revision: '2026-07-28',
      transport: 'memory',
      msg: 'request',
    })
  })

  test('is what npm avoids, where the range of the dependency takes the API that today’s SDKs bring', () => {
    const { dependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
      dependencies: Record<string, string>
    }
    const [, minor] = /^\^1\.(\d+)\.0$/.exec(dependencies['@opentelemetry/api']!) ?? []
    // SDKs of the major version 2 take an API below 1.10: with two APIs installed, ours would see nothing of theirs.
    expect(Number(minor)).toBeLessThanOrEqual(9)
  })
})
