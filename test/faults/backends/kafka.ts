import { startKafka } from '../../servers/kafka.ts'
import type { Link } from '../../servers/toxiproxy.ts'
import type { Backend } from '../backend.ts'
import { BROKER, TIMEOUTS } from './broker.ts'

/** A task queue. */
export const kafka: Backend = {
  ...BROKER,
  label: 'Kafka',
  async start(toxiproxy, stack) {
    let link: Link | undefined
    // It tells its clients where it is, which must be the proxy.
    const advertised = async (address: { host: string; port: number }): Promise<Link> =>
      (link ??= await toxiproxy.proxy('kafka', address))
    stack.use(await startKafka({ advertised }))
    const { host, port } = link!
    const options = `partitions=2&sessionTimeoutMs=6000&${TIMEOUTS}`
    return { links: [link!], options: { queue: `kafka://${host}:${port}/faults?${options}` } }
  },
  attemptsPerSecond: 50,
}
