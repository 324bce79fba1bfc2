// Workers that are killed in the middle of an ingest and of a report.
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createRuntime, type Runtime } from 'holdfast'
import { describe, expect, it, onTestFinished } from 'vitest'
import { openDocsDesk } from '../../examples/docs-desk/docs-desk.ts'
import { defineDocsDeskServer } from '../../examples/docs-desk/server-definition.ts'
import { readSettings } from '../../examples/docs-desk/settings.ts'
import { openThrowaway } from '../../src/backends/postgres/open.ts'
import { generateKeys } from '../../src/compose/options.ts'
import { fromEntryValue } from '../../src/tasks/payload.ts'
import { query } from '../servers/postgres.ts'
import { sharedServer } from '../servers/shared.ts'
import { until } from '../servers/tools.ts'
import { chatAnswer, startEndpoint, temporaryFolder, type Respond } from './support.ts'

const { url: server } = await sharedServer('postgres')
const WORKER = join(import.meta.dirname, 'worker-process.ts')
const DOCUMENTS = 5
const PASSAGES = 20
let databases = 0

interface Cluster {
  databaseUrl: string
  /** Serves, and runs no tasks. */
  node: Runtime
  startWorker(): Promise<ChildProcess>
}

/** A database of its own with the tables of tasks, documents to ingest, a node, and workers in processes of their own. */
async function startCluster(respond: Respond): Promise<Cluster> {
  const name = `desk_worker_${process.pid}_${++databases}`
  await query(server, `create database ${name}`)
  onTestFinished(() => query(server, `drop database ${name} with (force)`).then(() => undefined))
  const address = new URL(server)
  address.pathname = `/${name}`
  const { url: databaseUrl } = await openThrowaway(address.href, 'holdfast')
  const root = join(await temporaryFolder(), 'handbook')
  await mkdir(root)
  for (let document = 0; document < DOCUMENTS; document++) {
    const sections = Array.from(
      { length: PASSAGES },
      (_, part) => `## Part ${part}\n\nSentence ${document}.${part} on ${part < 4 ? 'coffee' : 'paper'}.`,
    )
    await writeFile(join(root, `document-${document}.md`), `# Document ${document}\n\n${sections.join('\n\n')}\n`)
  }
  const { baseUrl } = await startEndpoint(respond)
  const environment = {
    DATABASE_URL: databaseUrl,
    DOCS_DESK_ROOTS: root,
    OPENAI_BASE_URL: baseUrl,
    DOCS_DESK_EMBEDDING_MODEL: 'test-vectors',
    DOCS_DESK_CHAT_MODEL: 'test-model',
    HOLDFAST_KEYS: generateKeys(),
    HOLDFAST_ARTIFACTS_URL: `file:${await temporaryFolder()}`,
  }
  const node = await createRuntime(
    defineDocsDeskServer(() => openDocsDesk(readSettings(environment))),
    { tasks: databaseUrl, keys: environment.HOLDFAST_KEYS, dataDir: false, logLevel: 'silent', worker: false },
  )
  onTestFinished(() => node.close())
  return {
    databaseUrl,
    node,
    async startWorker() {
      const child = fork(WORKER, { env: { ...process.env, ...environment }, execArgv: [] })
      onTestFinished(() => void child.kill('SIGKILL'))
      const [said] = (await Promise.race([once(child, 'message'), once(child, 'exit')])) as unknown[]
      if (said !== 'ready') throw new Error(`The worker ended at its start (${String(said)}).`)
      return child
    },
  }
}

async function kill(child: ChildProcess): Promise<void> {
  const ended = once(child, 'exit')
  child.kill('SIGKILL')
  await ended
}

async function ended(node: Runtime, id: string): Promise<Record<string, unknown>> {
  let structured: unknown
  await until('The task having ended', 60_000, async () => {
    const task = await node.tasks.get(id)
    if (task?.status === 'failed') throw new Error(JSON.stringify(task.error))
    structured = task?.result?.structuredContent
    return task?.status === 'completed'
  })
  return structured as Record<string, unknown>
}

/** What the steps of a task have put on record. */
async function journal(databaseUrl: string): Promise<Map<string, unknown>> {
  const rows = await query<{ name: string; value: Buffer }>(databaseUrl, 'select name, value from holdfast.hf_journal')
  return new Map(rows.map(({ name, value }) => [name, fromEntryValue(name, value)[2]]))
}

const vectors = (texts: readonly string[]): unknown => ({
  object: 'list',
  model: 'test-vectors',
  usage: { prompt_tokens: 1, total_tokens: 1 },
  data: texts.map((text, index) => ({
    object: 'embedding',
    index,
    embedding: [1, text.length, text.charCodeAt(text.length - 10)],
  })),
})

describe('a worker that is killed', () => {
  it('in the middle of an ingest leaves it to another, which ends it and embeds nothing again that was recorded', async () => {
    const requested: string[][] = []
    const { node, databaseUrl, startWorker } = await startCluster(({ body }) => {
      const texts = body['input'] as string[]
      requested.push(texts)
      // The fourth is never answered: the worker dies while it waits.
      return requested.length === 4 ? undefined : vectors(texts)
    })
    const first = await startWorker()
    const { id } = await node.tasks.create('ingest', { path: '.' })
    await until('The fourth request', 20_000, async () => requested.length === 4)
    const recorded = await query<{ hash: string }>(databaseUrl, 'select hash from docs_desk.vectors')
    const [answered, inFlight] = [requested.slice(0, -1).flat(), requested.at(-1)!]
    expect(answered.length).toBe(recorded.length)
    await kill(first)
    await startWorker()
    const report = await ended(node, id)

    const total = DOCUMENTS * PASSAGES
    expect(report).toMatchObject({
      counts: { added: DOCUMENTS, updated: 0, unchanged: 0, removed: 0, failed: 0 },
      passages: { added: total, kept: 0, embedded: total },
      warnings: [],
    })
    // Each text was asked for once, but for those whose request died with the worker.
    const all = requested.flat()
    for (const text of answered) expect(all.filter((other) => other === text)).toEqual([text])
    for (const text of inFlight) expect(all.filter((other) => other === text).length).toBe(2)
    expect(new Set(all).size).toBe(total)
    // And each was recorded once: by the store of documents, and by the steps.
    expect(
      await query(databaseUrl, 'select count(*)::int, count(distinct hash)::int as texts from docs_desk.vectors'),
    ).toEqual([{ count: total, texts: total }])
    const steps = await journal(databaseUrl)
    const batches = [...steps]
      .filter(([name]) => name.startsWith('embed batch'))
      .map(([, value]) => value as { taken: number; stored: number })
    expect(batches.reduce((sum, { taken }) => sum + taken, 0)).toBe(total)
    expect(batches.every(({ taken, stored }) => taken === stored)).toBe(true)
  }, 90_000)

  it('in the middle of a report leaves it to another, which asks the model for nothing again that was recorded', async () => {
    const prompts: string[] = []
    const { node, databaseUrl, startWorker } = await startCluster(({ path, body }) => {
      if (path.endsWith('/embeddings')) return vectors(body['input'] as string[])
      prompts.push(/Document \d/.exec(JSON.stringify(body))![0])
      return prompts.length === 3 ? undefined : chatAnswer('It says something [1].')
    })
    const first = await startWorker()
    await ended(node, (await node.tasks.create('ingest', { path: '.' })).id)
    const { id } = await node.tasks.create('report', { topic: 'coffee' })
    await until('The third summary', 20_000, async () => prompts.length === 3)
    await kill(first)
    await startWorker()
    const { written } = (await ended(node, id)) as { written: { documents: number; uri: string } }
    expect(prompts.length).toBe(written.documents + 1)
    expect(new Set(prompts.slice(0, 2)).size).toBe(2)
    expect(prompts.slice(3)).not.toContain(prompts[0])
    expect(prompts.slice(3)).not.toContain(prompts[1])
    const summaries = [...(await journal(databaseUrl)).keys()].filter((name) => name.startsWith('summary of'))
    expect(summaries.length).toBe(written.documents)
  }, 90_000)
})
