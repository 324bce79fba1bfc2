import { useLocalCredentials } from '../../chaos/backends/backend.ts'
import { startElasticmq } from '../../servers/elasticmq.ts'
import type { Backend } from '../backend.ts'
import { BROKER, TIMEOUTS } from './broker.ts'

/** A task queue. */
export const sqs: Backend = {
  ...BROKER,
  label: 'SQS',
  async start(toxiproxy, stack) {
    useLocalCredentials()
    const server = stack.use(await startElasticmq())
    const link = await toxiproxy.proxy('sqs', server)
    const endpoint = encodeURIComponent(`http://${link.host}:${link.port}`)
    const options = `region=us-east-1&endpoint=${endpoint}&waitS=2&visibilityS=6&${TIMEOUTS}`
    return { links: [link], options: { queue: `sqs://faults?${options}` } }
  },
  attemptsPerSecond: 30,
}
