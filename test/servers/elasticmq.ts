// ElasticMQ 1.7: what speaks SQS, with its messages in a database of its own.
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { have, java, maven } from './programs.ts'
import { ServerProcess } from './server-process.ts'

/** Where the program comes from. */
export const elasticmqSource = maven(
  {
    name: 'elasticmq',
    image: 'softwaremill/elasticmq:1.7.1',
    remedy:
      'Install Java 17 and Maven, start a container engine, or set TEST_SQS_URL to sqs://?region=…&endpoint=… of yours (and AWS credentials).',
  },
  'org.elasticmq:elasticmq-server_2.13:1.7.1',
)

/** A server of a test's own. */
export interface SqsServer extends AsyncDisposable {
  /** Without a queue: every test has its own. */
  readonly url: string
  readonly endpoint: string
  readonly host: string
  readonly port: number
  readonly process: ServerProcess
}

const HOST = '127.0.0.1'

// WRITE_DELAY=0: without it a kill loses sends that were acknowledged.
const configuration = (dir: string, port: number): string => `
include classpath("application.conf")
node-address { protocol = http, host = "${HOST}", port = ${port}, context-path = "" }
rest-sqs { enabled = true, bind-port = ${port}, bind-hostname = "${HOST}", sqs-limits = strict }
rest-stats { enabled = false }
generate-node-address = false
queues-storage { enabled = true, path = "${join(dir, 'queues.conf')}" }
messages-storage {
  enabled = true
  driver-class = "org.h2.Driver"
  uri = "jdbc:h2:file:${join(dir, 'emq')};DB_CLOSE_ON_EXIT=FALSE;WRITE_DELAY=0"
  username = ""
  password = ""
  prune-data-on-init = false
}
aws { region = us-east-1, accountId = 000000000000 }
`

/** Starts a server; queues and messages survive `process.kill()` and `process.start()`. */
export async function startElasticmq(): Promise<SqsServer> {
  const { program, classPath } = java(await have(elasticmqSource), '/opt/elasticmq/lib/*')
  let port = 0
  const server = await ServerProcess.launch('elasticmq', 1, async ({ dir, ports }) => {
    port = ports[0]!
    const file = join(dir, 'elasticmq.conf')
    await writeFile(file, configuration(dir, port))
    const memory = ['-Xms64m', '-Xmx256m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1']
    return {
      name: 'elasticmq',
      program,
      args: [...memory, `-Dconfig.file=${file}`, '-cp', classPath, 'org.elasticmq.server.Main'],
      startTimeoutMs: 60_000,
      isReady: async () =>
        (
          await fetch(`http://${HOST}:${port}/?Action=ListQueues`, {
            headers: { connection: 'close' },
            signal: AbortSignal.timeout(2000),
          })
        ).ok,
    }
  })
  const endpoint = `http://${HOST}:${port}`
  return {
    url: `sqs://?region=us-east-1&endpoint=${encodeURIComponent(endpoint)}`,
    endpoint,
    host: HOST,
    port,
    process: server,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
}
