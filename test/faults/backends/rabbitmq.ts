import { startRabbitmq } from '../../servers/rabbitmq.ts'
import type { Backend } from '../backend.ts'
import { BROKER, TIMEOUTS } from './broker.ts'

/** A task queue. */
export const rabbitmq: Backend = {
  ...BROKER,
  label: 'RabbitMQ',
  async start(toxiproxy, stack) {
    const server = stack.use(await startRabbitmq())
    const link = await toxiproxy.proxy('rabbitmq', server)
    return { links: [link], options: { queue: `amqp://guest:guest@${link.host}:${link.port}/?${TIMEOUTS}` } }
  },
  attemptsPerSecond: 30,
}
