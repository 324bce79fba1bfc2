import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, describe, expect, test, vi } from 'vitest'
import { parseExposition, valueOf } from './exposition.ts'

const CLI = join(import.meta.dirname, '../../dist/cli/main.js')
const SERVER = join(import.meta.dirname, 'child-server.ts')
const folder = mkdtempSync(join(tmpdir(), 'holdfast-process-'))
afterAll(() => rmSync(folder, { recursive: true }))

let children: ChildProcess[] = []
afterEach(async () => {
  for (const child of children) {
    const closed = new Promise((resolve) => child.once('close', resolve))
    try {
      process.kill(-child.pid!, 'SIGKILL') // the shell, and what it has started
      await closed
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
    }
  }
  children = []
})

interface Served {
  child: ChildProcess
  url: string
  call(name: string): Promise<number>
  dropped(reason: string): Promise<number>
  /** Resolves to the exit code, or the signal. */
  ended(): Promise<number | string>
}

/** A port that is free now: the output, where the server would say its own, is what is tested. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

/** Starts `holdfast serve` through a shell, so that its standard output is what the shell makes of it: a pipe, a file. */
async function serve(shell: string, read: 'read' | 'ignore' = 'ignore'): Promise<Served & { output: () => string }> {
  const port = await freePort()
  const child = spawn('bash', ['-c', shell], {
    env: {
      ...process.env,
      SERVE: `${process.execPath} ${CLI} serve ${SERVER} --port ${port}`,
      FOLDER: folder,
      PORT: '',
      LOG_LEVEL: '',
    },
    stdio: ['ignore', read === 'read' ? 'pipe' : 'ignore', 'pipe'],
    detached: true,
  })
  children.push(child)
  let output = ''
  child.stdout?.on('data', (chunk: Buffer) => (output += chunk.toString()))
  let errors = ''
  child.stderr!.on('data', (chunk: Buffer) => (errors += chunk.toString()))
  const exited = new Promise<number | string>((resolve) =>
    child.on('close', (code, signal) => resolve(code ?? signal!)),
  )
  const url = `http://127.0.0.1:${port}`
  await vi
    .waitFor(() => fetch(`${url}/livez`), { timeout: 15_000, interval: 50 })
    .catch((error: Error) => {
      throw new Error(`It did not start: ${errors}`, { cause: error })
    })
  return {
    child,
    url,
    output: () => output,
    async call(name) {
      const response = await fetch(`${url}/mcp`, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          accept: 'application/json, text/event-stream',
          'mcp-protocol-version': '2026-07-28',
          'mcp-method': 'tools/call',
          'mcp-name': name,
        },
        body: JSON.stringify({
          jsonrpc: '2.0',
          id: 1,
          method: 'tools/call',
          params: {
            name,
            _meta: {
              'io.modelcontextprotocol/protocolVersion': '2026-07-28',
              'io.modelcontextprotocol/clientCapabilities': {},
            },
          },
        }),
      })
      await response.text()
      return response.status
    },
    async dropped(reason) {
      const families = parseExposition(await (await fetch(`${url}/metrics`)).text())
      return valueOf(families, 'holdfast_dropped_log_lines_total', { reason })
    },
    ended: () => exited,
  }
}

/** The process that serves, where a shell started it. */
function servingPid(url: string): number {
  const port = new URL(url).port
  const listed = execFileSync('bash', [
    '-c',
    `grep -lz -- "--port" /proc/[0-9]*/cmdline 2>/dev/null || true`,
  ]).toString()
  for (const path of listed.trim().split('\n')) {
    if (!existsSync(path)) continue // grep itself, or another that has ended meanwhile
    const args = readFileSync(path, 'utf8').split('\0')
    if (args[0] === process.execPath && args.includes(port)) return Number(path.split('/')[2])
  }
  throw new Error(`Nobody serves port ${port}.`)
}

describe('a log that nobody reads', () => {
  test('whose reader has gone: the server serves on, counts what is lost, and ends when told', async () => {
    const { url, call, dropped, ended } = await serve('$SERVE | head -n 3 >$FOLDER/head; exit ${PIPESTATUS[0]}')
    for (let times = 0; times < 5; times++) expect(await call('say')).toBe(200)
    await vi.waitFor(async () => expect(await dropped('failed')).toBeGreaterThanOrEqual(5), { timeout: 5000 })
    for (let times = 0; times < 5; times++) expect(await call('say')).toBe(200)
    process.kill(servingPid(url), 'SIGTERM')
    expect(await ended()).toBe(0)
  })

  test('whose reader went just before the end: the server ends all the same', async () => {
    const { child, url, call, ended } = await serve('$SERVE | sleep 1000; exit ${PIPESTATUS[0]}')
    const pid = servingPid(url)
    for (let times = 0; times < 5; times++) await call('say')
    process.kill(Number(execFileSync('pgrep', ['-P', String(child.pid), 'sleep'])), 'SIGKILL')
    process.kill(pid, 'SIGTERM')
    expect(await ended()).toBe(0)
  })

  test('whose reader has stopped reading: requests are served, what waits is bounded, and the server ends when told', async () => {
    const { url, call, dropped } = await serve('$SERVE | sleep 60; exit ${PIPESTATUS[0]}')
    const pid = servingPid(url)
    const before = rssOf(pid)
    let calls = 0
    while ((await dropped('slow')) === 0) {
      for (let times = 0; times < 100; times++) expect(await call('say')).toBe(200)
      calls += 100
      expect(calls).toBeLessThan(6000)
    }
    expect(rssOf(pid) - before).toBeLessThan(150 * 1024 * 1024)
    const toldMs = Date.now()
    process.kill(pid, 'SIGTERM')
    await vi.waitFor(() => expect(() => process.kill(pid, 0)).toThrow(), { timeout: 5000 })
    expect(Date.now() - toldMs).toBeLessThan(5000)
  }, 60_000)

  test('that can not be written (a full disk): the server serves on', async () => {
    const { url, call, dropped, ended } = await serve('exec $SERVE >/dev/full')
    for (let times = 0; times < 3; times++) expect(await call('say')).toBe(200)
    await vi.waitFor(async () => expect(await dropped('failed')).toBeGreaterThanOrEqual(3), { timeout: 5000 })
    process.kill(servingPid(url), 'SIGTERM')
    expect(await ended()).toBe(0)
  })

  test('that is closed from the start: the server serves', async () => {
    const { url, call, ended } = await serve('exec $SERVE >&-')
    expect(await call('say')).toBe(200)
    process.kill(servingPid(url), 'SIGTERM')
    expect(await ended()).toBe(0)
  })
})

describe('what was logged is written', () => {
  const lines = (text: string): Record<string, unknown>[] =>
    text
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line) as Record<string, unknown>)

  test.each(['pipe', 'file'])('when the server is told to end (%s)', async (to) => {
    const path = join(folder, `ended-${to}`)
    const { url, call, ended, output } = await serve(to === 'pipe' ? 'exec $SERVE' : `exec $SERVE >${path}`, 'read')
    for (let times = 0; times < 20; times++) await call('say')
    process.kill(servingPid(url), 'SIGTERM')
    expect(await ended()).toBe(0)
    const written = lines(to === 'pipe' ? output() : readFileSync(path, 'utf8'))
    expect(written.filter(({ msg }) => msg === 'request')).toHaveLength(20)
    expect(written.filter(({ msg }) => msg === 'a long story')).toHaveLength(20)
  })

  test.each(['pipe', 'file'])('when an error that nobody catches ends it (%s)', async (to) => {
    const path = join(folder, `crashed-${to}`)
    const { call, ended, output } = await serve(to === 'pipe' ? 'exec $SERVE' : `exec $SERVE >${path}`, 'read')
    for (let times = 0; times < 5; times++) await call('say')
    await call('crash').catch(() => 'cut')
    expect(await ended()).toBe(1)
    const written = lines(to === 'pipe' ? output() : readFileSync(path, 'utf8'))
    expect(written.filter(({ msg }) => msg === 'request')).toHaveLength(6)
  })

  test('when the process is ended from within', async () => {
    const { call, ended, output } = await serve('exec $SERVE', 'read')
    for (let times = 0; times < 5; times++) await call('say')
    await call('exit').catch(() => 'cut')
    expect(await ended()).toBe(7)
    expect(lines(output()).filter(({ msg }) => msg === 'request')).toHaveLength(6)
  })

  test('line by line, where several processes write to one pipe that is read slowly', async () => {
    const path = join(folder, 'shared')
    const { url, call, ended } = await serve(`$SERVE --processes 2 | (sleep 2; cat >${path}); exit \${PIPESTATUS[0]}`)
    const primary = servingPid(url)
    await Promise.all(
      Array.from({ length: 8 }, async () => {
        for (let times = 0; times < 250; times++) await call('missing')
      }),
    )
    const written = (): string[] =>
      readFileSync(path, 'utf8')
        .split('\n')
        .filter((line) => line.includes('"level"') || line.includes('"msg"'))
    await vi.waitFor(() => expect(written().length).toBeGreaterThanOrEqual(2000), { timeout: 20_000, interval: 200 })
    expect(written().filter((line) => !isJson(line))).toEqual([])
    expect(written()).toHaveLength(2000)
    process.kill(primary, 'SIGTERM')
    expect(await ended()).toBe(0)
  }, 60_000)

  test('within a fraction of a second otherwise', async () => {
    const { call, output } = await serve('exec $SERVE', 'read')
    await call('say')
    await vi.waitFor(() => expect(lines(output())).toHaveLength(2), { timeout: 1000 })
  })

  test('on standard error, where standard output carries messages', async () => {
    const fd = openSync(join(folder, 'stdio'), 'w')
    const child = spawn(process.execPath, [CLI, 'serve', SERVER, '--stdio'], {
      stdio: ['pipe', 'pipe', fd],
      detached: true,
    })
    children.push(child)
    let output = ''
    child.stdout!.on('data', (chunk: Buffer) => (output += chunk.toString()))
    const _meta = {
      'io.modelcontextprotocol/protocolVersion': '2026-07-28',
      'io.modelcontextprotocol/clientCapabilities': {},
    }
    child.stdin!.end(`${JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list', params: { _meta } })}\n`)
    expect(await new Promise((resolve) => child.on('close', resolve))).toBe(0)
    expect(
      output
        .trim()
        .split('\n')
        .map((line) => (JSON.parse(line) as { id: number }).id),
    ).toEqual([1])
    const written = lines(readFileSync(join(folder, 'stdio'), 'utf8'))
    expect(written.map(({ msg, transport }) => [msg, transport])).toEqual([['request', 'stdio']])
  })
})

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

function rssOf(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) * 1024
}
