import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeEach, describe, test, vi } from 'vitest'
import { connect } from 'amqplib'
import { openRabbitmqQueue } from '../../src/backends/rabbitmq/task-queue.ts'
import { taskQueueContract } from '../../src/testing/contracts/task-queue.ts'
import { startRabbitmq } from '../servers/rabbitmq.ts'
import { needs } from '../servers/shared.ts'

vi.setConfig({ testTimeout: 120_000 }) // the broker is stopped and started
await needs('rabbitmq')
const server = await startRabbitmq()
afterAll(() => server[Symbol.asyncDispose]())

const maxDeliveries = 3
/** The end of a process that shares nothing else with the others. */
const prefix = `t${randomUUID().slice(0, 8)}`
const open = (more = '') =>
  openRabbitmqQueue(`${server.url}?prefix=${prefix}&maxDeliveries=${maxDeliveries}${more}`, {
    onUp() {},
    onDown() {},
  })

/** How many messages the queue of dead letters holds. */
async function deadLetters(): Promise<number> {
  const connection = await connect(server.url)
  try {
    const channel = await connection.createChannel()
    return (await channel.checkQueue(`${prefix}-dead`)).messageCount
  } finally {
    await connection.close()
  }
}

taskQueueContract(
  { describe, test, beforeEach, afterEach },
  'RabbitMQ',
  async () => ({ here: await open(), there: await open(), maxDeliveries }),
  {
    differing: () => open('&maxLength=5'),
    deadLetters,
    outage: {
      async stop() {
        // A quorum queue that was declared a moment ago may come back without a leader.
        await new Promise((resolve) => setTimeout(resolve, 6000))
        await server.kill()
      },
      start: () => server.process.start(),
    },
    quietMs: 4000,
  },
)
