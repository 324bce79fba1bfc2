import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { addressOf, runCli, startCli } from './cli.ts'

const FIXTURE = new URL('fixture.ts', import.meta.url).pathname
const META = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientCapabilities': {},
}

async function call(
  url: string,
  name: string,
  args: object = {},
): Promise<{ status: number; text: string; error?: { data: { code: string } } }> {
  const response = await fetch(url, {
    method: 'POST',
    // A connection that was handed to a process just as it was killed is never answered.
    signal: AbortSignal.timeout(5000),
    headers: {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      connection: 'close', // so that each call may reach any process
      'mcp-protocol-version': '2026-07-28',
      'mcp-method': 'tools/call',
      'mcp-name': name,
    },
    body: JSON.stringify({
      jsonrpc: '2.0',
      id: 1,
      method: 'tools/call',
      params: { name, arguments: args, _meta: META },
    }),
  })
  const body = (await response.json()) as {
    result?: { content: { text: string }[] }
    error?: { data: { code: string } }
  }
  return {
    status: response.status,
    text: body.result?.content[0]?.text ?? '',
    ...(body.error === undefined ? {} : { error: body.error }),
  }
}

const folder = mkdtempSync(join(tmpdir(), 'holdfast-definitions-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
function definition(name: string, text: string): string {
  const file = join(folder, name)
  writeFileSync(file, text)
  return file
}

describe('the command line', () => {
  test('says its version, and its help at every level', async () => {
    expect(await runCli(['--version'])).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) as string,
    })
    expect(await runCli(['--help'])).toMatchObject({ code: 0, stdout: expect.stringContaining('serve') as string })
    expect(await runCli(['serve', '--help'])).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('--processes') as string,
    })
  })

  test.each([
    [
      'an unknown flag, with the one that was meant',
      ['serve', FIXTURE, '--prot', '1'],
      {},
      2,
      /unknown option '--prot'[\s\S]*--port/,
    ],
    ['an unknown command, with the one that was meant', ['serv', FIXTURE], {}, 2, /unknown command 'serv'[\s\S]*serve/],
    ['a missing definition', ['serve'], {}, 2, /missing required argument 'definition'/],
    ['a port that is none', ['serve', FIXTURE, '--port', '70000'], {}, 2, /A port is a whole number from 0 to 65535/],
    [
      'a count of processes that is none',
      ['serve', FIXTURE, '--processes', 'many'],
      {},
      2,
      /whole number from 1 to 64/,
    ],
    ['a file that is not there', ['serve', 'nowhere.ts'], {}, 1, /There is no file .*nowhere\.ts/],
    ['--stdio with a port', ['serve', FIXTURE, '--stdio', '--port', '1'], {}, 1, /--stdio serves one client/],
    [
      'a misspelt variable, with the one that was meant',
      ['serve', FIXTURE],
      { HOLDFAST_ALOWED_HOSTS: 'x' },
      1,
      /There is no variable HOLDFAST_ALOWED_HOSTS\. Did you mean HOLDFAST_ALLOWED_HOSTS\?/,
    ],
    ["a variable with a value that it can't have", ['serve', FIXTURE], { PORT: 'http' }, 1, /PORT is .*must be a port/],
    ['a key ring that is none', ['serve', FIXTURE], { HOLDFAST_KEYS: 'k1:short' }, 1, /HOLDFAST_KEYS holds an entry/],
    [
      'an address beyond this machine, without a word for it',
      ['serve', FIXTURE, '--host', '0.0.0.0', '--port', '0'],
      {},
      1,
      /HOLDFAST_ALLOW_ANONYMOUS=1/,
    ],
    [
      'an address that this machine does not have',
      ['serve', FIXTURE, '--host', '127.0.0.1.example.invalid', '--port', '0'],
      { HOLDFAST_ALLOW_ANONYMOUS: '1' },
      1,
      /no address/,
    ],
  ])('refuses %s', async (_what, args, env, code, message) => {
    const result = await runCli(args, env as Record<string, string>)
    expect(result.stderr).toMatch(message)
    expect(result.code).toBe(code)
    expect(result.stderr).not.toContain('    at ')
  })

  test.each([
    ['exports no server', 'none.ts', 'export default 1', /does not export a server/],
    [
      'has an option that does not exist',
      'option.ts',
      `import { defineServer } from '${new URL('../../dist/index.js', import.meta.url).href}'\nexport const options = { maxBodyBites: 1 }\nexport default defineServer({ name: 'x', version: '1' })`,
      /no option `maxBodyBites`\. Did you mean `maxBodyBytes`\?/,
    ],
    [
      "uses TypeScript that Node can't strip",
      'enum.ts',
      'enum A { B }\nexport default A',
      /Node strips types and no more/,
    ],
    ['throws', 'throws.ts', 'throw new Error("boom")', /can't be loaded: Error: boom/],
  ])('refuses a definition that %s', async (_what, name, text, message) => {
    const result = await runCli(['serve', definition(name, text), '--port', '0'])
    expect(result).toMatchObject({ code: 1, stderr: expect.stringMatching(message) as string })
  })
})

describe('a definition', () => {
  test('that is an ES module where `npm init` wrote CommonJS is refused, with what to change', async () => {
    mkdirSync(join(folder, 'commonjs'))
    const manifest = definition('commonjs/package.json', '{ "type": "commonjs" }')
    const result = await runCli(['serve', definition('commonjs/server.ts', 'import "node:fs"\nexport default 1')])
    expect(result).toMatchObject({ code: 1, stderr: expect.stringContaining(`${manifest} says`) as string })
    expect(result.stderr).toContain('npm pkg set type=module')
  })
})

describe('serve', () => {
  test('prints where it is, and how to connect, and answers there', async () => {
    await using cli = startCli(['serve', FIXTURE, '--port', '0'])
    const text = await cli.until(/MCP Inspector.*\n/)
    for (const line of [
      /fixture 1\.2\.3/,
      /MCP endpoint\s+http:\/\/127\.0\.0\.1:\d+\/mcp/,
      /\/livez/,
      /\/readyz/,
      /\/metrics/,
      /data folder\s+\//,
      /claude mcp add/,
      /code --add-mcp/,
    ])
      expect(text).toMatch(line)
    const url = /MCP endpoint\s+(\S+)/.exec(text)![1]!
    expect((await call(url, 'pid')).text).toBe(String(cli.child.pid))
  })

  test('takes host and port from flags before variables', async () => {
    await using cli = startCli(['serve', FIXTURE, '--port', '0', '--host', '127.0.0.2', '--json'], {
      PORT: '1',
      HOST: '127.0.0.3',
      HOLDFAST_ALLOWED_HOSTS: '127.0.0.2',
    })
    const { url } = await addressOf(cli)
    expect(url).toMatch(/^http:\/\/127\.0\.0\.2:\d+\/mcp$/)
    expect((await call(url, 'pid')).status).toBe(200)
  })

  test('says that a port is taken, and what to do', async () => {
    const other = createServer().listen(0, '127.0.0.1')
    await once(other, 'listening')
    const { port } = other.address() as AddressInfo
    const result = await runCli(['serve', FIXTURE, '--port', String(port)])
    expect(result).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(new RegExp(`Port ${port} on 127.0.0.1 is taken.*--port`)) as string,
    })
    await new Promise((resolve) => other.close(resolve))
  })

  test('SIGTERM lets a running call end, and ends with 0', async () => {
    await using cli = startCli(['serve', FIXTURE, '--port', '0', '--json'])
    const { url } = await addressOf(cli)
    const answer = call(url, 'slow', { ms: 300 })
    await call(url, 'pid') // by now the slow call has been taken too
    cli.child.kill('SIGTERM')
    expect((await answer).text).toBe('done')
    expect(await cli.ended).toBe(0)
  })

  test('SIGTERM aborts what does not end in time, and ends with 0', async () => {
    await using cli = startCli(['serve', FIXTURE, '--port', '0', '--json'], { HOLDFAST_DRAIN_DEADLINE_MS: '100' })
    const { url } = await addressOf(cli)
    const answer = call(url, 'stubborn').then(
      () => 'answered',
      () => 'cut',
    )
    await call(url, 'pid')
    cli.child.kill('SIGTERM')
    expect(await cli.ended).toBe(0)
    expect(await answer).toBe('cut')
  })

  test('a second signal ends at once', async () => {
    await using cli = startCli(['serve', FIXTURE, '--port', '0', '--json'])
    const { url, readyz } = await addressOf(cli)
    const answer = call(url, 'stubborn').catch(() => 'cut')
    await call(url, 'pid')
    expect((await fetch(readyz)).status).toBe(200)
    cli.child.kill('SIGINT')
    await cli.until(/"method":"tools\/call"/) // the log of the answered call is written out while it drains
    cli.child.kill('SIGINT')
    expect(await cli.ended).toBe(1)
    expect(await answer).toBe('cut')
  })

  test('while it drains, /readyz fails before connections are refused', async () => {
    await using cli = startCli(['serve', FIXTURE, '--port', '0', '--json'], { HOLDFAST_DRAIN_DELAY_MS: '3000' })
    const { readyz, livez } = await addressOf(cli)
    expect((await fetch(readyz)).status).toBe(200)
    cli.child.kill('SIGTERM')
    let status = 200
    while (status === 200) status = (await fetch(readyz)).status
    expect(status).toBe(503)
    expect((await fetch(livez)).status).toBe(200)
  })

  test('during the delay calls go on, each on a connection that ends with it, and idle connections are left alone', async () => {
    await using cli = startCli(['serve', FIXTURE, '--port', '0', '--json'], { HOLDFAST_DRAIN_DELAY_MS: '1500' })
    const { url, port } = await addressOf(cli)
    const idle = connect(port, '127.0.0.1')
    await once(idle, 'connect')
    const ended = once(idle, 'close').then(() => performance.now())
    const startedMs = performance.now()
    cli.child.kill('SIGTERM')
    let response = await fetch(url.replace('/mcp', '/readyz'))
    while (response.status === 200) response = await fetch(url.replace('/mcp', '/readyz'))
    expect(response.headers.get('connection')).toBe('close')
    while (performance.now() - startedMs < 1000) expect((await call(url, 'pid')).text).toBe(String(cli.child.pid))
    expect((await ended) - startedMs).toBeGreaterThan(1400)
    expect(await cli.ended).toBe(0)
  })
})

describe('serve --processes', () => {
  test('shares port, sessions and changes between processes, and the metrics are those of all', async () => {
    await using cli = startCli(['serve', FIXTURE, '--port', '0', '--processes', '2', '--json'])
    const { url, metrics } = await addressOf(cli)
    const pids = new Set<string>()
    for (let turn = 0; turn < 20; turn++) pids.add((await call(url, 'pid')).text)
    expect(pids.size).toBe(2)

    // A session, its subscription and its stream may each be on another process.
    const post = (body: object, session?: string): Promise<Response> =>
      fetch(url, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          accept: 'application/json, text/event-stream',
          connection: 'close',
          ...(session === undefined ? {} : { 'mcp-session-id': session }),
        },
        body: JSON.stringify({ jsonrpc: '2.0', id: 1, ...body }),
      })
    const opened = await post({
      method: 'initialize',
      params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 't', version: '1' } },
    })
    const session = opened.headers.get('mcp-session-id')!
    await opened.body?.cancel()
    const stream = await fetch(url, { headers: { accept: 'text/event-stream', 'mcp-session-id': session } })
    expect(stream.status).toBe(200)
    expect(
      await (await post({ method: 'resources/subscribe', params: { uri: 'note://one' } }, session)).json(),
    ).toMatchObject({ result: {} })
    const reader = stream.body!.pipeThrough(new TextDecoderStream()).getReader()
    let seen = ''
    const touching = new Set<string>()
    while (touching.size < 2)
      touching.add(
        (
          (await (await post({ method: 'tools/call', params: { name: 'touch' } }, session)).json()) as {
            result: { content: { text: string }[] }
          }
        ).result.content[0]!.text,
      )
    while ((seen.match(/resources\/updated/g) ?? []).length < 2) seen += (await reader.read()).value
    await reader.cancel()

    const count = /mcp_server_operation_duration_seconds_count\{[^}]*gen_ai_tool_name="pid"[^}]*\} (\d+)/.exec(
      await (await fetch(metrics)).text(),
    )
    expect(Number(count![1])).toBe(20)

    expect((await fetch(url, { method: 'DELETE', headers: { 'mcp-session-id': session } })).status).toBe(204)
    for (let turn = 0; turn < 4; turn++) expect((await post({ method: 'ping' }, session)).status).toBe(404)

    cli.child.kill('SIGTERM')
    expect(await cli.ended).toBe(0)
  })

  test('a second signal ends all of them at once', async () => {
    await using cli = startCli(['serve', FIXTURE, '--port', '0', '--processes', '2', '--json'])
    const { url } = await addressOf(cli)
    const answer = call(url, 'stubborn').catch(() => 'cut')
    await call(url, 'pid')
    cli.child.kill('SIGTERM')
    await cli.until(/"method":"tools\/call"/)
    cli.child.kill('SIGTERM')
    expect(await cli.ended).toBe(1)
    expect(await answer).toBe('cut')
  })

  test('starts a killed process again', async () => {
    await using cli = startCli(['serve', FIXTURE, '--port', '0', '--processes', '2', '--json'])
    const { url } = await addressOf(cli)
    const first = (await call(url, 'pid')).text
    process.kill(Number(first), 'SIGKILL')
    const pids = new Set<string>()
    while (pids.size < 2) {
      const answer = await call(url, 'pid').catch(() => undefined)
      if (answer?.text !== undefined && answer.text !== first) pids.add(answer.text)
    }
    cli.child.kill('SIGTERM')
    expect(await cli.ended).toBe(0)
  })

  test('gives up where processes keep failing to start', async () => {
    const other = createServer().listen(0, '127.0.0.1')
    await once(other, 'listening')
    const { port } = other.address() as AddressInfo
    const result = await runCli(['serve', FIXTURE, '--port', String(port), '--processes', '2'])
    expect(result).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/is taken by another process[\s\S]*as soon as they were started/) as string,
    })
    await new Promise((resolve) => other.close(resolve))
  })
})

test('serve --watch starts again when the definition changes', async () => {
  const index = new URL('../../dist/index.js', import.meta.url).href
  const text = (answer: string): string =>
    `import { defineServer, defineTool } from '${index}'\nexport default defineServer({ name: 'watched', version: '1', tools: [defineTool({ name: 'say', description: 'Says it', run: () => '${answer}' })] })`
  const file = definition('watched.mjs', text('first'))
  await using cli = startCli(['serve', file, '--port', '0', '--watch', '--json'])
  const { url } = await addressOf(cli)
  expect((await call(url, 'say')).text).toBe('first')
  writeFileSync(file, text('second'))
  await cli.until(/"url"[\s\S]*"url"/)
  const next = JSON.parse(
    cli
      .stdout()
      .split('\n')
      .filter((line) => line.startsWith('{"url"'))[1]!,
  ) as { url: string }
  expect((await call(next.url, 'say')).text).toBe('second')
  cli.child.kill('SIGTERM')
  await cli.ended
})
