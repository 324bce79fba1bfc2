// DynamoDB Local 2.6, by its makers; its data in a file.
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { have, java, maven } from './programs.ts'
import { ServerProcess } from './server-process.ts'

/** Where the program comes from. */
export const dynamodbSource = maven(
  {
    name: 'dynamodb',
    image: 'amazon/dynamodb-local:2.6.1',
    remedy:
      'Install Java 17 and Maven, start a container engine, or set TEST_DYNAMODB_URL to dynamodb://?region=…&endpoint=… of yours (and AWS credentials).',
  },
  'com.amazonaws:DynamoDBLocal:2.6.1',
)

/** A server of a test's own. */
export interface DynamodbServer extends AsyncDisposable {
  /** Without a table: every test has its own. */
  readonly url: string
  readonly endpoint: string
  readonly host: string
  readonly port: number
  readonly process: ServerProcess
}

const HOST = '127.0.0.1'

/** Starts a server; tables survive `process.kill()` and `process.start()`. */
export async function startDynamodb(): Promise<DynamodbServer> {
  const { program, classPath, jars } = java(await have(dynamodbSource), '/home/dynamodblocal/*')
  const libraries = program.container === undefined ? jars : '/home/dynamodblocal/DynamoDBLocal_lib'
  const path = program.container === undefined ? classPath : `${classPath}:${libraries}/*`
  let port = 0
  const server = await ServerProcess.launch('dynamodb', 1, async ({ dir, ports }) => {
    port = ports[0]!
    const data = join(dir, 'data')
    await mkdir(data)
    const memory = ['-Xms64m', '-Xmx256m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1']
    const properties = [`-Djava.io.tmpdir=${dir}`, `-Dsqlite4java.library.path=${libraries}`]
    const main = 'com.amazonaws.services.dynamodbv2.local.main.ServerRunner'
    const options = ['-dbPath', data, '-sharedDb', '-disableTelemetry', '-port', String(port)]
    return {
      name: 'dynamodb',
      program,
      args: [...memory, ...properties, '-cp', path, main, ...options],
      startTimeoutMs: 60_000,
      // Any answer will do: without credentials it is a refusal.
      isReady: async () =>
        (
          await fetch(`http://${HOST}:${port}/`, {
            headers: { connection: 'close' },
            signal: AbortSignal.timeout(2000),
          })
        ).status > 0,
    }
  })
  const endpoint = `http://${HOST}:${port}`
  return {
    url: `dynamodb://?region=us-east-1&endpoint=${encodeURIComponent(endpoint)}`,
    endpoint,
    host: HOST,
    port,
    process: server,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
}
