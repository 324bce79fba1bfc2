import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { threadId } from 'node:worker_threads'
import { createRuntime, defineServer, defineTool } from 'holdfast'
import { connect, type TestClient } from 'holdfast/testing'
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest'
import { isAlive, until } from '../servers/tools.ts'
import { createLogFile, type Line, type LogFile } from '../telemetry/log-file.ts'
import server from './isolated-server.ts'

const dir = mkdtempSync(join(tmpdir(), 'holdfast-isolation-'))
afterAll(() => rmSync(dir, { recursive: true }))
let files = 0
const newFile = (): string => {
  const file = join(dir, String(files++))
  writeFileSync(file, '')
  return file
}
const linesOf = (file: string): string[] => readFileSync(file, 'utf8').split('\n').slice(0, -1)

const DEFINITION = new URL('./isolated-server.ts', import.meta.url)
let client: TestClient
let log: LogFile
beforeEach(() => {
  log = createLogFile()
})
afterEach(() => client?.close())

async function start(...names: string[]): Promise<void> {
  const tools = server.tools.filter(({ name }) => names.includes(name) || name === 'plain')
  client = await connect(
    { ...server, tools },
    {
      answers: { when: { month: 'May' } },
      runtime: {
        logLevel: 'debug',
        logFd: log.fd,
        worker: { definition: DEFINITION, leaseMs: 3_000, pollMs: 200 },
        artifacts: `file:${dir}/artifacts`,
      },
    },
  )
}
const jsonOf = ({ text }: { text: string }): Record<string, unknown> => JSON.parse(text) as Record<string, unknown>

describe.each(['thread', 'process'] as const)('a tool in a %s', (kind) => {
  test('runs apart, in one that is used again', async () => {
    await start(`${kind}-where`)
    const first = jsonOf(await client.callTool(`${kind}-where`))
    const second = jsonOf(await client.callTool(`${kind}-where`))
    expect(first).toMatchObject({ calls: 1, issuer: 'anonymous', client: '2026-07-28' })
    expect(second).toEqual({ ...first, calls: 2 })
    if (kind === 'thread') expect(first).toMatchObject({ pid: process.pid, isMainThread: false })
    else expect(first.pid).not.toBe(process.pid)
    expect(jsonOf(await client.callTool('plain'))).toEqual({ pid: process.pid, threadId })
  })

  test('runs several attempts at once, each in one of its own', async () => {
    await start(`${kind}-polite`)
    const controllers = [new AbortController(), new AbortController()]
    const places = controllers.map(() => newFile())
    const calls = controllers.map(({ signal }, index) =>
      client.callTool(`${kind}-polite`, { file: places[index] }, { signal }).catch(() => 'cancelled'),
    )
    await until('Both to run', 20_000, async () => places.every((file) => readFileSync(file, 'utf8') !== ''))
    if (kind === 'process') expect(new Set(places.map((file) => readFileSync(file, 'utf8'))).size).toBe(2)
    for (const controller of controllers) controller.abort()
    await Promise.all(calls)
    await until('Both to clean up', 5_000, async () =>
      places.every((file) => readFileSync(file, 'utf8') === 'cleaned up'),
    )
  }, 40_000)

  test('has the whole context: steps, questions, sleep, progress, log, notifications, its key', async () => {
    await start(`${kind}-trip`)
    const file = newFile()
    const progress: unknown[] = []
    const result = await client.callTool(`${kind}-trip`, { file }, { onProgress: (one) => progress.push(one) })
    expect(result.text).toBe('7 May true')
    // Asked, then asleep: it ran three times, and took its step once.
    expect(linesOf(file)).toEqual(['run', 'offer', 'run', 'run'])
    expect(progress).toMatchObject([{ progress: 1, total: 2, message: 'half of it' }])
    expect(await log.line(({ msg }) => msg === 'has an offer')).toMatchObject({
      taskId: expect.any(String),
      fields: { price: 7, circular: expect.stringContaining('Circular') },
    })
    await log.line(({ msg, outcome }) => msg === 'attempt' && outcome === 'completed')
  }, 40_000)

  test('writes artifacts to where its caller reads them', async () => {
    await start(`${kind}-write`)
    const { content } = await client.callTool(`${kind}-write`)
    const { uri } = content[0] as { uri: string }
    expect(await client.readResource(uri)).toMatchObject([{ text: '100000 bytes', mimeType: 'text/plain' }])
  }, 40_000)

  test('starts tasks of other tools', async () => {
    await start(`${kind}-more`)
    const { id, refusal } = jsonOf(await client.callTool(`${kind}-more`))
    expect(refusal).toMatch(/no tool "unknown"/)
    await log.line(({ msg, tool, taskId }) => msg === 'attempt' && tool === 'plain' && taskId === id)
  }, 40_000)

  test('tells the model what it throws for it', async () => {
    await start(`${kind}-fail`)
    expect(await client.callTool(`${kind}-fail`)).toMatchObject({ isError: true, text: 'no such customer' })
  })

  test('that ends its own is charged with a crash, and tried again without what it had on record', async () => {
    await start(`${kind}-crash`)
    const file = newFile()
    expect((await client.callTool(`${kind}-crash`, { file })).text).toBe('done')
    expect(linesOf(file)).toEqual(['charged', 'ran', 'ran'])
    const died = await log.line(({ msg }) => msg.includes('has died'))
    expect(JSON.stringify(died)).toContain(kind === 'thread' ? 'process.exit(3)' : 'exit code 3')
    const attempts = await log.all(2, ({ msg }) => msg === 'attempt')
    expect(attempts.map(({ outcome }) => outcome)).toEqual(['crashed', 'completed'])
  }, 40_000)

  test('that blocks its event loop for ever is ended at its time-out, and harms no other', async () => {
    await start(`${kind}-block`)
    const file = newFile()
    const call = client.callTool(`${kind}-block`, { file })
    await until('The block', 20_000, async () => linesOf(file).length > 0)
    expect(jsonOf(await client.callTool('plain')).pid).toBe(process.pid)
    expect(await call).toMatchObject({ isError: true, text: expect.stringContaining('took too long') })
    expect(linesOf(file)).toHaveLength(2) // attempts
    if (kind === 'process') for (const pid of linesOf(file)) expect(isAlive(Number(pid))).toBe(false)
  }, 40_000)

  test.each([true, false])(
    'that ignores `ctx.signal` is ended after its grace (blocks: %s)',
    async (blocks) => {
      await start(`${kind}-stuck`, `${kind}-where`)
      const file = newFile()
      const controller = new AbortController()
      const call = client.callTool(`${kind}-stuck`, { file, blocks }, { signal: controller.signal })
      call.catch(() => undefined)
      await until('It to run', 20_000, async () => readFileSync(file, 'utf8') !== '')
      controller.abort()
      await expect(call).rejects.toThrow()
      const isOver = ({ msg, outcome }: Line): boolean => msg === 'attempt' && outcome === 'cancelled'
      await until('The end', 10_000, async () => log.lines().some(isOver))
      if (kind === 'process') expect(isAlive(Number(readFileSync(file, 'utf8')))).toBe(false)
      const beats = (): number => (existsSync(`${file}.alive`) ? readFileSync(`${file}.alive`, 'utf8').length : 0)
      const before = beats()
      // Long enough for many beats of one that lived.
      await client.callTool(`${kind}-where`)
      expect(beats()).toBe(before)
    },
    40_000,
  )

  test('that outgrows its heap is ended, with the reason in the log', async () => {
    await start(`${kind}-leak`)
    await expect(client.callTool(`${kind}-leak`)).rejects.toThrow(/lost/)
    const died = await log.line(({ msg }) => msg.includes('has died'))
    expect(JSON.stringify(died)).toContain('its heap has outgrown maxHeapMb (64)')
    expect(jsonOf(await client.callTool('plain')).pid).toBe(process.pid)
  }, 60_000)

  test('that keeps memory from call to call gets a fresh one before it is too much', async () => {
    await start(`${kind}-grow`)
    const calls: unknown[] = []
    for (let index = 0; index < 6; index++) calls.push(jsonOf(await client.callTool(`${kind}-grow`)).calls)
    expect(calls.filter((one) => one === 1).length).toBeGreaterThan(1)
    expect(log.lines().filter(({ msg }) => msg.includes('has died'))).toEqual([])
  }, 60_000)
})

describe('the definition', () => {
  const isolated = defineServer({
    name: 's',
    version: '1.0.0',
    tools: [defineTool({ name: 'apart', description: 'd', task: { isolation: 'thread' }, run: () => 'done' })],
  })
  const options = { dataDir: false, logLevel: 'silent' } as const

  test('must be known where a tool has isolation', async () => {
    await expect(createRuntime(isolated, options)).rejects.toThrow(
      /"apart" has `isolation`.*definition: import\.meta\.url/,
    )
  })
  test('must be a module that can be loaded, exports a server, and has the tool', async () => {
    const at = (definition: string) => createRuntime(isolated, { ...options, worker: { definition } })
    await expect(at(join(dir, 'missing.ts'))).rejects.toThrow(/missing\.ts/)
    const broken = join(dir, 'broken.mjs')
    writeFileSync(broken, 'throw new TypeError("broken at its start")')
    await expect(at(broken)).rejects.toThrow('broken at its start')
    const other = join(dir, 'other.mjs')
    writeFileSync(other, 'export default { kind: "server", tools: [] }')
    await expect(at(other)).rejects.toMatchObject({
      code: 'invalid_module',
      message: expect.stringContaining('"apart"'),
    })
    writeFileSync(join(dir, 'none.mjs'), 'export default 1')
    await expect(at(join(dir, 'none.mjs'))).rejects.toMatchObject({ code: 'invalid_module' })
  })
  test('need not be known to a process that runs no tasks', async () => {
    const runtime = await createRuntime(isolated, { ...options, worker: false })
    await runtime.close()
  })
})

test('a process whose worker was killed does not run on, though it blocks', async () => {
  const file = newFile()
  const child = spawn(process.execPath, [join(import.meta.dirname, 'isolation-process.ts'), file], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const ended = once(child, 'close')
  try {
    await once(createInterface(child.stdout), 'line')
    await until('It to run', 20_000, async () => linesOf(file).length > 0)
  } finally {
    child.kill('SIGKILL')
    await ended
  }
  await until('Its end', 10_000, async () => !isAlive(Number(linesOf(file)[0])))
}, 60_000)
