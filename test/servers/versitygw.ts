// versitygw 1.8: an S3 gateway by Versity, over a folder of this machine (it needs extended attributes).
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { goModule, have } from './programs.ts'
import { ServerProcess } from './server-process.ts'

/** Where the program comes from. */
export const versitygwSource = goModule(
  {
    name: 'versitygw',
    command: 'versitygw',
    image: 'versity/versitygw:v1.8.0',
    remedy:
      'Install Go, or a program named versitygw on PATH, start a container engine, or set TEST_S3_URL to s3://bucket?region=…&endpoint=… of yours (and AWS credentials).',
  },
  'github.com/versity/versitygw/cmd/versitygw@v1.8.0',
  'versitygw',
)

/** What the server lets in; set it as `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`. */
export const S3_CREDENTIALS = { accessKeyId: 'holdfast-test', secretAccessKey: 'holdfast-test-secret' }

/** A server of a test's own. */
export interface VersitygwServer extends AsyncDisposable {
  /** With the bucket {@link bucket}, without a prefix: every test has its own. */
  readonly url: string
  readonly endpoint: string
  readonly bucket: string
  readonly host: string
  readonly port: number
  /** Where the objects lie, as folders and files. */
  readonly data: string
  readonly process: ServerProcess
}

const HOST = '127.0.0.1'
const BUCKET = 'holdfast'

/** Starts a server with one bucket; objects survive `process.kill()` and `process.start()`. */
export async function startVersitygw(): Promise<VersitygwServer> {
  const program = await have(versitygwSource)
  let port = 0
  let data = ''
  const server = await ServerProcess.launch('versitygw', 1, async ({ dir, ports }) => {
    port = ports[0]!
    data = join(dir, 'data')
    // A folder at the top is a bucket.
    await mkdir(join(data, BUCKET), { recursive: true })
    return {
      name: 'versitygw',
      program,
      args: ['--port', `${HOST}:${port}`, '--region', 'us-east-1', '--health', '/healthz', '--quiet', 'posix', data],
      env: { ROOT_ACCESS_KEY: S3_CREDENTIALS.accessKeyId, ROOT_SECRET_KEY: S3_CREDENTIALS.secretAccessKey },
      isReady: async () =>
        (
          await fetch(`http://${HOST}:${port}/healthz`, {
            headers: { connection: 'close' },
            signal: AbortSignal.timeout(2000),
          })
        ).ok,
    }
  })
  const endpoint = `http://${HOST}:${port}`
  return {
    url: `s3://${BUCKET}?region=us-east-1&endpoint=${encodeURIComponent(endpoint)}`,
    endpoint,
    bucket: BUCKET,
    host: HOST,
    port,
    data,
    process: server,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
}
