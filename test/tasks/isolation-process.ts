// A worker whose tool blocks the process that it runs in, for good.
import { createRuntime } from 'holdfast'
import server from './isolated-server.ts'

const tools = server.tools.filter(({ name }) => name === 'process-block')
const runtime = await createRuntime(
  { ...server, tools },
  { dataDir: false, logLevel: 'silent', worker: { definition: new URL('./isolated-server.ts', import.meta.url) } },
)
await runtime.tasks.create('process-block', { file: process.argv[2] })
process.stdout.write('started\n')
setInterval(() => undefined, 1_000)
