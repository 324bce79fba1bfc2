// `npm run example:cluster`, as its README has it.
import { resolve } from 'node:path'
import { expect, test } from 'vitest'
import { modern, openSession } from '../clients/raw.ts'
import { ServerProcess } from '../servers/server-process.ts'
import { needs } from '../servers/shared.ts'
import { isAlive, until } from '../servers/tools.ts'

await needs('redis', 'haproxy')

test('the example serves three nodes behind one endpoint, starts a killed one again, and leaves nothing behind', async () => {
  let port = 0
  await using example: ServerProcess = await ServerProcess.launch('example', 1, ({ ports }) => {
    port = ports[0]!
    return {
      name: 'example',
      program: { command: process.execPath, origin: 'this repository' },
      args: [resolve('examples/cluster/run.ts'), '--port', String(port)],
      env: { HOLDFAST_STATE_URL: '', REDIS_URL: '' },
      isReady: async () => (await fetch(`http://127.0.0.1:${port}/readyz`, { headers: { connection: 'close' } })).ok,
    }
  })
  await until('The addresses being printed', 10_000, async () => example.log().includes('Ctrl-C'))
  const url = `http://127.0.0.1:${port}/mcp`
  expect(example.log()).toContain(url)
  const pids = [...example.log().matchAll(/process (\d+)/g)].map((match) => Number(match[1]))
  expect(pids).toHaveLength(3)
  const ask = async (): Promise<string> =>
    (await modern(url, 'tools/call', { name: 'node' })).message?.result?.['content'][0].text
  const answers = [await ask(), await ask(), await ask()]
  expect(answers.toSorted()).toEqual(pids.map((pid) => `process ${pid}`).toSorted())
  const session = await openSession(url)
  process.kill(pids[0]!, 'SIGKILL')
  await until('The node being started again', 10_000, async () => example.log().includes('started again'))
  // The balancer may still hold a connection to the killed process: a client that loses one tries again.
  for (let turn = 0; turn < 6; turn++)
    await until('The session going on', 5000, async () => (await session.request('tools/list')).status === 200)
  expect(await example.kill('SIGINT')).toBe(0)
  expect(pids.filter(isAlive)).toEqual([])
}, 60_000)
