import { connect } from 'holdfast/testing'
import { expect, test } from 'vitest'
import { createLogFile } from '../telemetry/log-file.ts'
import server from './isolated-server.ts'
import { outside } from './server.ts'

test.each(['thread', 'process'])(
  'a dependency that is used in a %s is guarded there, and tells its worker how it went',
  async (kind) => {
    let count = 0
    await using api = await outside((request, response) => {
      if (request.url === '/down') request.socket.resetAndDestroy()
      else response.writeHead(++count === 1 ? 503 : 200).end('hello')
    })
    const log = createLogFile()
    await using client = await connect(server, {
      runtime: {
        logLevel: 'debug',
        logFd: log.fd,
        worker: { definition: new URL('./isolated-server.ts', import.meta.url), pollMs: 100 },
      },
    })
    expect((await client.callTool(kind, { url: api.url })).text).toBe('hello')
    expect((await client.callTool(kind, { url: `${api.url}/down` })).text).toContain('failed unexpectedly')
    expect((await client.callTool(kind, { url: `${api.url}/down` })).text).toMatch(/failed unexpectedly|not available/)
    const refused = await client.callTool(kind, { url: api.url })
    expect(refused.text).toMatch(/^crm is not available now/)
    const { body } = await client.runtime.metrics()
    expect(body).toContain('holdfast_dependency_duration_seconds_count{dependency="crm",outcome="ok"} 2')
    expect(body).toContain('holdfast_dependency_breaker_openings_total{dependency="crm"} 1')
    expect(await log.line(({ msg }) => msg.startsWith('The dependency is left alone'))).toMatchObject({
      level: 40,
      dependency: 'crm',
    })
  },
  60_000,
)
