import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { addressOf, runCli, startCli } from './cli.ts'

const HOLDFAST = new URL('../../dist/index.js', import.meta.url).href
const TASKS = { extensions: { 'io.modelcontextprotocol/tasks': {} } }
const folder = mkdtempSync(join(tmpdir(), 'holdfast-processes-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** A definition whose one tool has `task`, and says by which process it was run, in a link. */
function definition(name: string, task: boolean, options: object): string {
  const file = join(folder, name)
  writeFileSync(
    file,
    `import { defineServer, defineTool } from ${JSON.stringify(HOLDFAST)}
const pid = defineTool({ name: 'pid', description: 'Says which process answers', run: () => String(process.pid) })
const write = defineTool({
  name: 'write',
  description: 'Writes',
  ${task ? 'task: true,' : ''}
  run: (_args, ctx) => ctx.artifacts.put(String(process.pid), { name: 'pid.txt' }),
})
export const options = ${JSON.stringify(options)}
export default defineServer({ name: 'many', version: '1.0.0', tools: [pid, write] })`,
  )
  return file
}

interface Answer {
  result?: { content: { text: string; uri: string }[]; isError?: boolean; taskId: string; status: string }
  error?: object
}
async function request(url: string, method: string, params: Record<string, unknown>): Promise<Answer> {
  const name = (params.name ?? params.taskId ?? params.uri) as string
  const response = await fetch(url, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      connection: 'close', // so that each may reach any process
      'mcp-protocol-version': '2026-07-28',
      'mcp-method': method,
      'mcp-name': name,
    },
    body: JSON.stringify({
      jsonrpc: '2.0',
      id: 1,
      method,
      params: {
        ...params,
        _meta: {
          'io.modelcontextprotocol/protocolVersion': '2026-07-28',
          'io.modelcontextprotocol/clientCapabilities': TASKS,
        },
      },
    }),
  })
  return (await response.json()) as Answer
}
const call = (url: string, name: string) => request(url, 'tools/call', { name, arguments: {} })

test('processes that share a data folder share tasks and their artifacts: each finds what another has made', async () => {
  await using cli = startCli(['serve', definition('shared.ts', true, {}), '--port', '0', '--processes', '2', '--json'])
  const { url } = await addressOf(cli)
  const pids = new Set<string>()
  while (pids.size < 2) pids.add((await call(url, 'pid')).result!.content[0]!.text)
  const { taskId } = (await call(url, 'write')).result!
  const seen = async (): Promise<string | undefined> => (await request(url, 'tasks/get', { taskId })).result?.status
  await expect.poll(seen, { timeout: 10_000 }).toBe('completed')
  for (let turn = 0; turn < 6; turn++) expect(await seen()).toBe('completed')
}, 30_000)

test.each([
  ['tasks', true, { dataDir: false }, /--processes 2: the tasks of "many"[\s\S]*HOLDFAST_TASKS_URL/],
  ['tasks, said so', true, { tasks: 'sqlite::memory:' }, /--processes 2: the tasks of "many"/],
  ['artifacts', false, { artifacts: 'memory:' }, /--processes 2: artifacts[\s\S]*HOLDFAST_ARTIFACTS_URL/],
])('processes whose %s would lie in the memory of each are refused at start', async (_what, task, options, problem) => {
  const file = definition('refused.ts', task, { port: 0, ...options })
  const { code, stdout, stderr } = await runCli(['serve', file, '--processes', '2'], { HOLDFAST_DATA_DIR: '' })
  expect([code, stdout]).toEqual([1, ''])
  expect(stderr).toMatch(problem)
  expect(stderr).toMatch(/^error: [^\n]+\n$/)
})

test('processes without a data folder serve, and none writes artifacts where the others would not find them', async () => {
  const file = definition('nothing.ts', false, { dataDir: false, logLevel: 'silent' })
  await using cli = startCli(['serve', file, '--port', '0', '--processes', '2', '--json'], { HOLDFAST_DATA_DIR: '' })
  const { url } = await addressOf(cli)
  expect((await call(url, 'pid')).result!.content[0]!.text).toMatch(/^\d+$/)
  expect((await call(url, 'write')).result!.isError).toBe(true)
})
