// BullMQ on Redis; how often Redis syncs its file is said by who starts it.
import { Queue, Worker } from 'bullmq'

const name = 'noop'
const connectionOf = ({ url }) => {
  const { hostname, port, pathname } = new URL(url)
  return { host: hostname, port: Number(port), db: Number(pathname.slice(1)), maxRetriesPerRequest: null }
}

export async function prepare() {}

export async function probe(place) {
  const queue = new Queue(name, { connection: connectionOf(place) })
  return {
    unfinished: async () => {
      const { completed, ...open } = await queue.getJobCounts()
      return Object.values(open).reduce((sum, count) => sum + count, 0)
    },
    close: () => queue.close(),
  }
}

export async function producer(place) {
  const queue = new Queue(name, { connection: connectionOf(place) })
  await queue.waitUntilReady()
  const text = 'x'.repeat(place.payloadBytes)
  return {
    create: async (key) => {
      await queue.add(name, { key, text })
    },
    fill: async (keys) => {
      await queue.addBulk(keys.map((key) => ({ name, data: { key, text } })))
    },
    close: () => queue.close(),
  }
}

export async function consumer(place, hooks) {
  const result = { text: 'x'.repeat(place.payloadBytes) }
  const worker = new Worker(
    name,
    async (job) => {
      hooks.entered(job.data.key)
      await hooks.hold()
      return result
    },
    { connection: connectionOf(place), concurrency: place.concurrency },
  )
  worker.on('error', (error) => process.stderr.write(`bullmq: ${error.message}\n`))
  await worker.waitUntilReady()
  return { close: () => worker.close(true) }
}
