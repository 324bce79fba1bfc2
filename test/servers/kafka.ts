// Kafka 4 in one process: broker and controller (KRaft).
import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { have, java, maven } from './programs.ts'
import { ServerProcess } from './server-process.ts'
import { run } from './tools.ts'

/** Where the program comes from. */
export const kafkaSource = maven(
  {
    name: 'kafka',
    image: 'apache/kafka:4.1.0',
    remedy:
      'Install Java 17 and Maven, start a container engine, or set TEST_KAFKA_URL to kafka://host:port/ of yours.',
  },
  'org.apache.kafka:kafka_2.13:4.4.0',
)

/** A broker of a test's own. */
export interface KafkaServer extends AsyncDisposable {
  /** Without a topic: every test has its own. */
  readonly url: string
  readonly host: string
  readonly port: number
  readonly process: ServerProcess
}

const HOST = '127.0.0.1'
const FORMAT_TIMEOUT_MS = 60_000

const configuration = (dir: string, port: number, controller: number, advertised: string): string => `
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@${HOST}:${controller}
listeners=PLAINTEXT://${HOST}:${port},CONTROLLER://${HOST}:${controller}
advertised.listeners=PLAINTEXT://${advertised}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs=${join(dir, 'data')}
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
log.cleaner.dedupe.buffer.size=4194304
`

/** An address of this machine. */
interface Address {
  readonly host: string
  readonly port: number
}

/**
 * Starts a broker; its log survives `process.kill()` and `process.start()`.
 * @param options.advertised where clients are told to find it, given where it is. Default: there.
 */
export async function startKafka({
  advertised = async (address) => address,
}: { advertised?: (address: Address) => Promise<Address> } = {}): Promise<KafkaServer> {
  const { program, classPath } = java(await have(kafkaSource), '/opt/kafka/libs/*')
  let port = 0
  const server = await ServerProcess.launch('kafka', 2, async ({ dir, ports }) => {
    port = ports[0]!
    const file = join(dir, 'server.properties')
    const told = await advertised({ host: HOST, port })
    await writeFile(file, configuration(dir, port, ports[1]!, `${told.host}:${told.port}`))
    // Joined to its name: one id in 64 begins with "-", and would be taken for a flag.
    const id = `--cluster-id=${randomBytes(16).toString('base64url')}`
    const format = ['kafka.tools.StorageTool', 'format', id, '-c', file]
    const quiet = '-Dorg.apache.kafka.automatic.config.providers='
    if (program.container === undefined)
      await run('java', ['-Xmx128m', quiet, '-cp', classPath, ...format], { timeoutMs: FORMAT_TIMEOUT_MS, cwd: dir })
    else {
      const { engine, image } = program.container
      const place = ['--rm', '--volume', `${dir}:${dir}`, '--user', `${process.getuid!()}:${process.getgid!()}`]
      const command = ['run', ...place, '--entrypoint', 'java', image, '-cp', classPath, ...format]
      await run(engine, command, { timeoutMs: FORMAT_TIMEOUT_MS })
    }
    const memory = ['-Xms128m', '-Xmx384m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1']
    return {
      name: 'kafka',
      program,
      args: [...memory, '-cp', classPath, 'kafka.Kafka', file],
      startTimeoutMs: 90_000,
      isReady: () => answersMetadata(port),
    }
  })
  return {
    url: `kafka://${HOST}:${port}`,
    host: HOST,
    port,
    process: server,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
}

/** Asks for the cluster's brokers, by the protocol itself (Metadata, version 1): an open port alone says too little. */
function answersMetadata(port: number): Promise<boolean> {
  const request = Buffer.alloc(4 + 2 + 2 + 4 + 2 + 4)
  request.writeInt32BE(request.length - 4)
  request.writeInt16BE(3, 4)
  request.writeInt16BE(1, 6)
  request.writeInt32BE(1, 8)
  request.writeInt16BE(-1, 12) // no client id
  request.writeInt32BE(0, 14) // of no topics
  return new Promise((resolve, reject) => {
    const socket = connect(port, HOST)
    let answer = Buffer.alloc(0)
    socket.setTimeout(2000, () => socket.destroy(new Error('Kafka did not answer within 2000 ms.')))
    socket.on('connect', () => socket.write(request))
    socket.on('error', reject)
    socket.on('close', () => resolve(false))
    socket.on('data', (chunk: Buffer) => {
      answer = Buffer.concat([answer, chunk])
      if (answer.length < 12) return
      resolve(answer.readInt32BE(8) > 0) // how many brokers it knows
      socket.destroy()
    })
  })
}
