// A process that works on a file of tasks without an end: creates, claims, records, finishes; and writes what was acknowledged to
// its standard output, synchronously, a line each: `created ID`, `done ID FENCE`, `failed MESSAGE`.
import { randomUUID } from 'node:crypto'
import { writeSync } from 'node:fs'
import { openSqlite } from '../../src/backends/sqlite/task-store.ts'
import { newTask } from '../support/new-task.ts'

const [url, queue] = process.argv.slice(2) as [string, string]
const store = await openSqlite(url)
const say = (line: string): void => void writeSync(1, `${line}\n`)
say('ready')

async function client(): Promise<never> {
  for (;;) {
    const id = randomUUID()
    await store.create(newTask({ id, owner: 'owner', queue, retentionMs: 600_000 }))
    say(`created ${id}`)
  }
}

async function worker(): Promise<never> {
  for (;;) {
    const request = { worker: `w-${process.pid}`, token: randomUUID(), queue, tools: ['work'], handlerRevisions: [] }
    for (const { id, fence } of await store.claim({ ...request, limit: 3, leaseMs: 600_000 })) {
      const recorded = await store.recordStep({
        id,
        fence,
        name: 'step',
        value: Buffer.from(String(process.pid)),
        leaseMs: 600_000,
      })
      const [outcome] = await store.finish([
        { id, fence, state: 'completed', result: Buffer.from(String(process.pid)) },
      ])
      say(
        recorded === 'recorded' && outcome === 'done'
          ? `done ${id} ${fence} ${process.pid}`
          : `failed ${recorded} ${outcome}`,
      )
    }
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
}

await Promise.all([client(), client(), worker()]).catch((error: Error) => {
  say(`failed ${error.message} ${String((error.cause as Error | undefined)?.message)}`)
  process.exit(1)
})
