import { writeFileSync } from 'node:fs'
import { defineServer, defineTool } from 'holdfast'
import tasks from './task-fixture.ts'

const input = { type: 'object', properties: { folder: { type: 'string' } }, required: ['folder'] } as const
const deaf = defineTool({
  name: 'deaf',
  description: 'Works on for ever, whatever it is told',
  input,
  task: { queue: 'slow', timeoutMs: 300, graceMs: 100, maxAttempts: 1 },
  run({ folder }: { folder: string }) {
    writeFileSync(`${folder}/deaf-${process.pid}`, '')
    setInterval(() => undefined, 100)
    return new Promise<string>(() => undefined)
  },
})

export const options = { worker: { pollMs: 300 } }
export default defineServer({ name: 'deaf', version: '1.0.0', tools: [...tasks.tools, deaf] })
