// A master, a replica, and a Sentinel that fails over within two or three seconds.
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { redisProgram, startRedis, type Flavour, type RedisServer } from './redis.ts'
import { command } from './resp.ts'
import { ServerProcess } from './server-process.ts'
import { until } from './tools.ts'

/** The name that the Sentinel knows the master by. */
export const MASTER_NAME = 'mymaster'

/** A replicated pair under a Sentinel. */
export interface SentinelGroup extends AsyncDisposable {
  /** `redis+sentinel://host:port/mymaster` */
  readonly url: string
  /** The one that was started as master; after a failover it is a replica. */
  readonly master: RedisServer
  readonly replica: RedisServer
  readonly sentinel: { readonly port: number; readonly process: ServerProcess }
  /** Port of the server that the Sentinel calls the master now. */
  masterPort(): Promise<number>
}

const LINK_TIMEOUT_MS = 20_000

/** Starts the three processes; resolves when the replica is in step and the Sentinel knows both. */
export async function startSentinel({ flavour = 'redis' }: { flavour?: Flavour } = {}): Promise<SentinelGroup> {
  const program = await redisProgram(flavour)
  await using stack = new AsyncDisposableStack()
  const master = stack.use(await startRedis({ flavour, args: ['--repl-diskless-sync-delay', '0'] }))
  const replica = stack.use(await startRedis({ flavour, args: ['--replicaof', master.host, String(master.port)] }))
  await until('The replica being in step', LINK_TIMEOUT_MS, async () =>
    String(await replica.command('INFO', 'replication')).includes('master_link_status:up'),
  )
  let port = 0
  const ask = (...args: string[]) => command({ host: '127.0.0.1', port }, 'SENTINEL', ...args)
  const sentinel = stack.use(
    await ServerProcess.launch(`${flavour}-sentinel`, 1, async ({ dir, ports }) => {
      port = ports[0]!
      const file = join(dir, 'sentinel.conf')
      await writeFile(
        file,
        [
          `port ${port}`,
          'bind 127.0.0.1',
          `dir ${dir}`,
          'protected-mode no',
          `sentinel monitor ${MASTER_NAME} ${master.host} ${master.port} 1`,
          `sentinel down-after-milliseconds ${MASTER_NAME} 1000`,
          `sentinel failover-timeout ${MASTER_NAME} 5000`,
          `sentinel parallel-syncs ${MASTER_NAME} 1`,
          '',
        ].join('\n'),
      )
      return {
        name: `${flavour}-sentinel`,
        program,
        args: [file, '--sentinel'],
        isReady: async () => ((await ask('REPLICAS', MASTER_NAME)) as unknown[]).length === 1,
      }
    }),
  )
  const parts = stack.move()
  return {
    url: `redis+sentinel://127.0.0.1:${port}/${MASTER_NAME}`,
    master,
    replica,
    sentinel: { port, process: sentinel },
    masterPort: async () => Number(((await ask('GET-MASTER-ADDR-BY-NAME', MASTER_NAME)) as string[])[1]),
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  }
}
