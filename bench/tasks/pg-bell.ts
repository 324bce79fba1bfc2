import pg from 'pg'
import type { TaskQueue } from '../../src/ports/task-queue.ts'
import { Deliveries } from '../../src/backends/broker/deliveries.ts'

export async function openPostgresBell(url: string): Promise<TaskQueue> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  return {
    async ensureTopology() {},
    async ring(queue) {
      await client.query({ name: 'ring', text: 'select pg_notify($1, $2)', values: ['hf_tasks', queue] })
    },
    async listen(queues, onRing, { credits }) {
      const deliveries = new Deliveries(onRing, credits, () => undefined)
      let paused = false
      client.on('notification', ({ payload }) => {
        if (!paused && queues.includes(payload!))
          deliveries.take({ bell: { queue: payload!, taskIds: [] }, attempt: 1, ack() {}, giveBack() {} })
      })
      await client.query('listen hf_tasks')
      return {
        pause: () => void (paused = true),
        resume: () => void (paused = false),
        close: async () => deliveries.stop(),
      }
    },
    depth: async () => undefined,
    close: () => client.end(),
  }
}
