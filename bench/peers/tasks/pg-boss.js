// pg-boss with LISTEN/NOTIFY, batches, and fetching on without a pause while batches come back full.
import pg from 'pg'
import { PgBoss } from 'pg-boss'

const queue = 'noop'
const open = async ({ url }, more = {}) => {
  const boss = new PgBoss({ connectionString: url, max: 10, useListenNotify: true, schedule: false, ...more })
  boss.on('error', (error) => process.stderr.write(`pg-boss: ${error.message}\n`))
  await boss.start()
  return boss
}

export async function prepare(place) {
  const boss = await open(place)
  await boss.createQueue(queue, { notify: true })
  await boss.stop({ graceful: false })
}

export async function probe({ url }) {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  return {
    unfinished: async () =>
      (
        await client.query(
          `select count(*)::int as count from pgboss.job where name = '${queue}' and state < 'completed'`,
        )
      ).rows[0].count,
    close: () => client.end(),
  }
}

export async function producer(place) {
  const boss = await open(place, { supervise: false })
  const text = 'x'.repeat(place.payloadBytes)
  return {
    create: async (key) => {
      await boss.send(queue, { key, text })
    },
    fill: async (keys) => {
      await boss.insert(
        queue,
        keys.map((key) => ({ data: { key, text } })),
      )
    },
    close: () => boss.stop({ graceful: false }),
  }
}

export async function consumer(place, hooks) {
  const boss = await open(place)
  const result = { text: 'x'.repeat(place.payloadBytes) }
  await boss.work(
    queue,
    { batchSize: place.concurrency, burstWhenBatchFull: true, pollingIntervalSeconds: 0.5 },
    async (jobs) => {
      for (const { data } of jobs) hooks.entered(data.key)
      await hooks.hold()
      return result
    },
  )
  return { close: () => boss.stop({ graceful: false }) }
}
