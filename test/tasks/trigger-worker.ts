// A worker that runs triggers, as a process of its own: `node trigger-worker.ts`, told by the environment.
//   TASKS, SOURCE: URLs; without a source it runs a schedule, every second
//   DIE_AFTER_CREATES: it is killed once so many tasks are committed, before a message of theirs is acknowledged
import * as z from 'zod'
import { openTaskStore } from '../../src/compose/task-store.ts'
import { createRuntime } from '../../src/compose/runtime.ts'
import { defineServer } from '../../src/define/server.ts'
import { defineTool } from '../../src/define/tool.ts'
import { defineTrigger } from '../../src/define/trigger.ts'
import { systemClock } from '../../src/ports/clock.ts'

const { TASKS = '', SOURCE, DIE_AFTER_CREATES = 'Infinity' } = process.env
const store = await openTaskStore(TASKS, systemClock)
let left = Number(DIE_AFTER_CREATES)
const deadly = new Proxy(store, {
  get(target, name) {
    const member: unknown = Reflect.get(target, name, target)
    if (typeof member !== 'function') return member
    if (name !== 'create') return member.bind(target)
    return async (...args: Parameters<typeof store.create>) => {
      const created = await store.create(...args)
      if (created.created && --left <= 0) process.kill(process.pid, 'SIGKILL')
      return created
    }
  },
})

const keep = defineTool({
  name: 'keep',
  description: 'Keeps what it is given',
  input: z.object({ document: z.string() }),
  task: true,
  run: ({ document }) => document,
})
const triggers =
  SOURCE === undefined
    ? defineTrigger({
        name: 'seconds',
        tool: 'keep',
        from: { cron: '* * * * * *', catchUpMs: 0 },
        toArguments: ({ scheduledMs }) => ({ document: String(scheduledMs) }),
      })
    : defineTrigger({ name: 'documents', tool: 'keep', from: () => SOURCE, concurrency: 2 })
const runtime = await createRuntime(
  defineServer({ name: 'triggered', version: '1.0.0', tools: [keep], triggers: [triggers] }),
  {
    tasks: deadly,
    dataDir: false,
    logFd: 2,
    logLevel: 'warn',
    worker: { pollMs: 200, leaseMs: 6000, hungAfterMs: 5000 },
  },
)
process.stdout.write('ready\n')
const alive = setInterval(() => undefined, 60_000)
process.once('SIGTERM', () => {
  clearInterval(alive)
  void runtime.close().then(() => store.close())
})
