import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { addressOf, runCli, startCli, type RunningCli } from './cli.ts'

const FIXTURE = new URL('task-fixture.ts', import.meta.url).pathname
const META = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientCapabilities': {},
}
let folder: string
let env: Record<string, string>
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'holdfast-worker-'))
  env = { HOLDFAST_DATA_DIR: folder, LOG_LEVEL: 'warn' }
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

async function call(url: string, name: string, args: object = {}): Promise<string> {
  const response = await fetch(url, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: 'application/json',
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
  const { result } = (await response.json()) as { result: { content: { text: string }[] } }
  return result.content[0]!.text
}
const began = (): string[] => readdirSync(folder).filter((name) => name.startsWith('began-'))
const startNode = (...more: string[]): RunningCli => startCli(['serve', FIXTURE, '--port', '0', '--json', ...more], env)
const startWorker = (...more: string[]): RunningCli => startCli(['worker', FIXTURE, '--json', ...more], env)

test('a node without a worker has its tasks run by a worker of its own process, which shows its health', async () => {
  await using node = startNode('--no-worker')
  await using worker = startWorker('--admin-port', '0')
  const { url } = await addressOf(node)
  const { metrics, readyz } = await addressOf(worker)
  expect(await call(url, 'where')).toBe(String(worker.child.pid))
  expect((await fetch(readyz)).status).toBe(200)
  expect(await (await fetch(metrics)).text()).toContain('holdfast_task_attempts_total{outcome="completed"} 1')
})

test('a worker that is killed loses its task to another, which goes on from the steps on record', async () => {
  env.TASK_LEASE_MS = '1500'
  await using node = startNode('--no-worker')
  const { url } = await addressOf(node)
  await using first = startWorker()
  const answer = call(url, 'wait', { folder })
  while (began().length === 0) await sleep(20)
  const firstPid = first.child.pid
  first.child.kill('SIGKILL')
  await using second = startWorker()
  while (began().length === 1) await sleep(20)
  writeFileSync(join(folder, 'go'), '')
  expect(await answer).toBe(`first ${firstPid}, last ${second.child.pid}`)
})

test('a worker that is told to stop ends what it has begun, and takes no more', async () => {
  await using node = startNode('--no-worker')
  const { url } = await addressOf(node)
  await using worker = startWorker()
  const answer = call(url, 'wait', { folder })
  while (began().length === 0) await sleep(20)
  worker.child.kill('SIGTERM')
  writeFileSync(join(folder, 'go'), '')
  expect(await answer).toBe(`first ${worker.child.pid}, last ${worker.child.pid}`)
  expect(await worker.ended).toBe(0)
})

test('a worker serves the queues that it is told to', async () => {
  await using node = startNode('--no-worker')
  const { url } = await addressOf(node)
  await using slow = startWorker('--queues', 'slow')
  const answer = call(url, 'where')
  writeFileSync(join(folder, 'go'), '')
  expect(await call(url, 'wait', { folder })).toContain(`last ${slow.child.pid}`)
  await using other = startWorker('--queues', 'default')
  expect(await answer).toBe(String(other.child.pid))
})

test.each([
  ['a queue that no tool uses', ['--queues', 'fast'], /no tool[\s\S]*"fast"; there are default, slow/i],
  ['a number of slots that is none', ['--concurrency', '0'], /whole number/],
])('%s is refused', async (_what, flags, message) => {
  const { code, stderr } = await runCli(['worker', FIXTURE, ...flags], env)
  expect(code).not.toBe(0)
  expect(stderr).toMatch(message)
})

test('a server whose tools run in place has nothing for a worker to do', async () => {
  const { code, stderr } = await runCli(['worker', new URL('fixture.ts', import.meta.url).pathname], env)
  expect(code).toBe(1)
  expect(stderr).toContain('Give a tool the option `task`')
})

test('a worker whose slots are held by handlers that do not stop ends in order, with the exit code 1, and loses no task', async () => {
  const deaf = new URL('deaf-fixture.ts', import.meta.url).pathname
  const start = (): RunningCli =>
    startCli(['worker', deaf, '--json', '--concurrency', '2'], { ...env, LOG_LEVEL: 'info' })
  await using node = startCli(['serve', deaf, '--port', '0', '--json', '--no-worker'], env)
  const { url } = await addressOf(node)
  await using stuck = start()
  expect(await call(url, 'deaf', { folder })).toContain('took too long')
  const running = call(url, 'wait', { folder })
  while (began().length === 0) await sleep(10)
  const waiting = call(url, 'deaf', { folder: join(folder, 'nowhere') }) // no slot is free for it
  await stuck.until(/hold half of the slots/)
  writeFileSync(join(folder, 'go'), '')
  expect(await running).toBe(`first ${stuck.child.pid}, last ${stuck.child.pid}`)
  expect(await stuck.ended).toBe(1)
  expect(stuck.stdout()).toContain('worker_stuck')
  await using next = start()
  expect(await waiting).toContain('failed')
  expect(next.child.exitCode).toBeNull()
}, 60_000)
