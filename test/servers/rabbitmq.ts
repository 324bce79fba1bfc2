// RabbitMQ 3.10, one node, with an epmd of its own.
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { apt, have, type ProgramSource } from './programs.ts'
import { ServerProcess } from './server-process.ts'
import { isAlive, run, until } from './tools.ts'

const packaged = apt(
  {
    name: 'rabbitmq',
    command: 'rabbitmq-server',
    image: 'rabbitmq:3.10',
    remedy: 'Install rabbitmq-server, start a container engine, or set TEST_RABBITMQ_URL to amqp://… of yours.',
  },
  'rabbitmq-server',
)
const INSTALLED = '/usr/lib/rabbitmq/lib'

/** Where the program comes from. What stands on `PATH` wants to become the user rabbitmq; the script behind it does not. */
export const rabbitmqSource: ProgramSource = {
  ...packaged,
  async find() {
    const folders = await readdir(INSTALLED).catch(() => [] as string[])
    const folder = folders.toSorted().findLast((name) => name.startsWith('rabbitmq_server-'))
    return folder === undefined ? undefined : join(INSTALLED, folder, 'sbin/rabbitmq-server')
  },
}

/** A broker of a test's own. */
export interface RabbitmqServer extends AsyncDisposable {
  readonly url: string
  readonly host: string
  readonly port: number
  readonly process: ServerProcess
  /** Kills the broker at once; resolves when it has gone. Use this and not `process.kill()`: Erlang's port mapper stays. */
  kill(): Promise<void>
}

const HOST = '127.0.0.1'
const STOP_TIMEOUT_MS = 20_000

/** Starts a broker; its queues survive `kill()` and `process.start()`. */
export async function startRabbitmq(settings: readonly string[] = []): Promise<RabbitmqServer> {
  const program = await have(rabbitmqSource)
  let port = 0
  let epmdPort = 0
  const server = await ServerProcess.launch('rabbitmq', 3, async ({ dir, ports }) => {
    let distributionPort: number
    ;[port, distributionPort, epmdPort] = ports as [number, number, number]
    const limits = ['disk_free_limit.absolute = 50MB', 'vm_memory_high_watermark.absolute = 512MB']
    await writeFile(
      join(dir, 'rabbitmq.conf'),
      [`listeners.tcp.1 = ${HOST}:${port}`, ...limits, ...settings, ''].join('\n'),
    )
    await writeFile(join(dir, 'enabled_plugins'), '[].')
    return {
      name: 'rabbitmq',
      program,
      args: [],
      env: {
        HOME: dir,
        LANG: 'C.UTF-8',
        RABBITMQ_BASE: dir,
        RABBITMQ_MNESIA_BASE: join(dir, 'mnesia'),
        RABBITMQ_LOG_BASE: join(dir, 'log'),
        RABBITMQ_NODENAME: `rmq${port}@localhost`,
        RABBITMQ_NODE_IP_ADDRESS: HOST,
        RABBITMQ_NODE_PORT: String(port),
        RABBITMQ_DIST_PORT: String(distributionPort),
        RABBITMQ_CONFIG_FILE: join(dir, 'rabbitmq.conf'),
        RABBITMQ_ENABLED_PLUGINS_FILE: join(dir, 'enabled_plugins'),
        RABBITMQ_CONF_ENV_FILE: '/dev/null',
        RABBITMQ_PID_FILE: join(dir, 'pid'),
        RABBITMQ_FEATURE_FLAGS_FILE: join(dir, 'mnesia/ff'),
        ERL_EPMD_PORT: String(epmdPort),
        ERL_EPMD_ADDRESS: HOST,
        RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS:
          '+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}',
      },
      startTimeoutMs: 90_000,
      isReady: () => answersAmqp(port),
    }
  })
  const beam = async (): Promise<number> => Number(await readFile(join(server.dir, 'pid'), 'utf8'))
  const gone = async (pid: number): Promise<void> =>
    until('RabbitMQ having gone', STOP_TIMEOUT_MS, async () => !isAlive(pid))
  return {
    url: `amqp://guest:guest@${HOST}:${port}`,
    host: HOST,
    port,
    process: server,
    async kill() {
      const pid = await beam()
      await server.kill()
      if (isAlive(pid)) process.kill(pid, 'SIGKILL')
      await gone(pid)
    },
    async [Symbol.asyncDispose]() {
      const isLocal = program.container === undefined
      if (isLocal && server.pid !== undefined) {
        // The script that was started ends before the broker does.
        const pid = await beam().catch(() => undefined) // it never got so far
        server.resume()
        await server.kill('SIGTERM')
        if (pid !== undefined) await gone(pid)
      }
      // The port mapper is a daemon: it has left the process group.
      if (isLocal)
        await run('epmd', ['-port', String(epmdPort), '-kill'], {
          timeoutMs: 5000,
          env: { ERL_EPMD_PORT: String(epmdPort) },
        }).catch(() => undefined) // it never came up, or has gone
      await server[Symbol.asyncDispose]()
    },
  }
}

/** Whether the broker answers the protocol's header: an open port alone says too little. */
function answersAmqp(port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, HOST)
    socket.setTimeout(5000, () => socket.destroy(new Error('RabbitMQ did not answer within 5000 ms.')))
    socket.on('connect', () => socket.write(Buffer.from('AMQP\0\0\x09\x01', 'latin1')))
    socket.on('error', reject)
    socket.on('close', () => resolve(false))
    socket.on('data', () => {
      resolve(true)
      socket.destroy()
    })
  })
}
