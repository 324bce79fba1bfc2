import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { Socket } from 'node:net'
import { expect, test, vi } from 'vitest'
import { openKafkaQueue } from '../../src/backends/kafka/task-queue.ts'
import { openRabbitmqQueue } from '../../src/backends/rabbitmq/task-queue.ts'
import { openSqsQueue } from '../../src/backends/sqs/task-queue.ts'
import { anything } from '../contracts/queues.ts'

vi.stubEnv('AWS_ACCESS_KEY_ID', 'test')
vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'test')

/** Nothing listens there. */
const NOWHERE = '127.0.0.1:1'

test.each([
  ['RabbitMQ', () => openRabbitmqQueue(`amqp://${NOWHERE}`, anything)],
  ['Kafka', () => openKafkaQueue(`kafka://${NOWHERE}/t`, anything)],
  ['SQS', () => openSqsQueue(`sqs://t?region=r&endpoint=${encodeURIComponent(`http://${NOWHERE}`)}`, anything)],
])('however many tasks are rung for, %s that is away is not asked for each', async (_name, open) => {
  let tried = 0
  const onSocket = (message: unknown): void => {
    const { socket } = message as { socket: Socket }
    socket.on('connectionAttempt', (_address: string, port: number) => {
      if (port === 1) tried++
    })
  }
  subscribe('net.client.socket', onSocket)
  const queue = await open()
  try {
    const untilMs = performance.now() + 2000
    let rings = 0
    const ring = async (): Promise<void> => {
      while (performance.now() < untilMs) {
        await expect(queue.ring('q', ['1'])).rejects.toMatchObject({ code: 'backend_failed' })
        rings++
        await new Promise((resolve) => setImmediate(resolve))
      }
    }
    await Promise.all(Array.from({ length: 4 }, ring))
    expect(rings).toBeGreaterThan(200)
    expect(tried).toBeGreaterThan(1) // it is looked for
    expect(tried).toBeLessThan(60)
  } finally {
    unsubscribe('net.client.socket', onSocket)
    await queue.close()
  }
})
