// `npm run example:cluster`, as its README has it.
import { resolve } from 'node:path'
import { expect, test } from 'vitest'
import { modern, openSession, type Message } from '../clients/raw.ts'
import { ServerProcess } from '../servers/server-process.ts'
import { needs } from '../servers/shared.ts'
import { isAlive, until } from '../servers/tools.ts'

await needs('redis', 'haproxy', 'postgres', 'rabbitmq')

test('the example serves one knowledge base by three nodes and two workers, starts a killed one again, and leaves nothing behind', async () => {
  let port = 0
  await using example: ServerProcess = await ServerProcess.launch('example', 1, ({ ports }) => {
    port = ports[0]!
    return {
      name: 'example',
      program: { command: process.execPath, origin: 'this repository' },
      args: [resolve('examples/cluster/run.ts'), '--port', String(port)],
      env: { HOLDFAST_STATE_URL: '', REDIS_URL: '', DATABASE_URL: '', HOLDFAST_QUEUE_URL: '', DOCS_DESK_ROOTS: SAMPLE },
      startTimeoutMs: 120_000,
      isReady: async () => (await fetch(`http://127.0.0.1:${port}/readyz`, { headers: { connection: 'close' } })).ok,
    }
  })
  await until('The addresses being printed', 10_000, async () => example.log().includes('Ctrl-C'))
  const url = `http://127.0.0.1:${port}/mcp`
  expect(example.log()).toContain(url)
  const pidsOf = (kind: string): number[] =>
    [...example.log().matchAll(new RegExp(`${kind} \\d+ .*process (\\d+)`, 'g'))].map((match) => Number(match[1]))
  const [nodes, workers] = [pidsOf('node'), pidsOf('worker')]
  expect([nodes.length, workers.length]).toEqual([3, 2])

  const call = async (name: string, args: object = {}): Promise<Result> => {
    const { message } = await modern(url, 'tools/call', { name, arguments: args })
    if (message?.result === undefined) throw new Error(JSON.stringify(message?.error))
    return message.result as Result
  }
  const answers = [await call('node'), await call('node'), await call('node')].map(({ content }) => content[0]!.text)
  expect(answers.toSorted()).toEqual(nodes.map((pid) => `process ${pid}`).toSorted())

  // A worker takes it in, and each node finds it, and reads what a worker has written.
  expect((await call('ingest', { path: '.' })).structuredContent).toMatchObject({
    counts: { added: 4, failed: 0 },
    warnings: [],
  })
  const searches = [1, 2, 3].map(() => call('search', { query: 'How much holiday do I get?', limit: 3 }))
  const [found, ...others] = (await Promise.all(searches)).map(({ structuredContent }) => structuredContent)
  expect(found!['passages']).toMatchObject([{ source: 'sample/leave.md' }, {}, {}])
  expect(others).toEqual([found, found])
  const { written } = (await call('report', { topic: 'holiday' })).structuredContent as { written: { uri: string } }
  for (let turn = 0; turn < 3; turn++) {
    const { message = {} } = await modern(url, 'resources/read', { uri: written.uri })
    expect((message.result as { contents: { text: string }[] }).contents[0]!.text).toContain('# Report: holiday')
  }

  const session = await openSession(url)
  const isStartedAgain = (name: string) => async (): Promise<boolean> =>
    example.log().includes(`${name} was started again`)
  process.kill(nodes[0]!, 'SIGKILL')
  await until('The node being started again', 20_000, isStartedAgain('node 1'))
  // The balancer may still hold a connection to the killed process: a client that loses one tries again.
  for (let turn = 0; turn < 6; turn++)
    await until('The session going on', 5000, async () => (await session.request('tools/list')).status === 200)
  process.kill(workers[0]!, 'SIGKILL')
  const again = call('ingest', { title: 'Note', text: 'Taken in by whichever worker is left.' })
  await until('The worker being started again', 20_000, isStartedAgain('worker 1'))
  expect((await again).structuredContent).toMatchObject({ counts: { added: 1 } })

  const last = [...pidsOf('node'), ...pidsOf('worker')]
  expect(await example.kill('SIGINT')).toBe(0)
  expect([...nodes, ...workers, ...last].filter(isAlive)).toEqual([])
}, 240_000)

const SAMPLE = resolve('examples/docs-desk/sample')
type Result = { content: { text: string }[]; structuredContent: Record<string, unknown> } & NonNullable<
  Message['result']
>
