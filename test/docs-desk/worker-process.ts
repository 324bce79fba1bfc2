// A worker of Docs desk in a process of its own, which says "ready" and works until it is killed.
import { createRuntime } from 'holdfast'
import definition from '../../examples/docs-desk/server.ts'

await createRuntime(definition, {
  tasks: process.env['DATABASE_URL']!,
  dataDir: false,
  logLevel: 'warn',
  worker: { concurrency: 2, leaseMs: 2_000, hungAfterMs: 1_500, pollMs: 200 },
})
process.send!('ready')
