// Another worker, on a thread of its own: told to, it sweeps, takes what it can get, and says what it took.
import { parentPort, workerData } from 'node:worker_threads'
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { openTaskStore } from '../../src/compose/task-store.ts'
import { systemClock } from '../../src/ports/clock.ts'

const { url, queue } = workerData as { url: string; queue: string }
const store = await openTaskStore(url, systemClock)
const ended = new AbortController()
const begun = Promise.withResolvers<void>()
parentPort!.on('message', (message: 'begin' | 'end') => {
  begun.resolve()
  if (message === 'end') ended.abort()
})
parentPort!.postMessage('ready')
await begun.promise
const error = Buffer.from('{}')
while (!ended.signal.aborted) {
  await store.sweep({
    limit: 10,
    expiredError: error,
    lostError: error,
    crashBackoffMs: 1,
    expiredAnswer: Buffer.from('null'),
    overdueMs: 1e9,
  })
  const request = { worker: 'other', queue, tools: ['work'], handlerRevisions: [], limit: 10, leaseMs: 600_000 }
  for (const { id, fence } of await store.claim({ ...request, token: randomUUID() }))
    parentPort!.postMessage({ id, fence })
  await sleep(20)
}
await store.close()
parentPort!.close()
