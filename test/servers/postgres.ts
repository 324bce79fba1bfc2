// PostgreSQL, whichever version the machine has, else Debian's.
import { chmod, readdir, readFile, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Client, type QueryResultRow } from 'pg'
import { apt, have, type ProgramSource } from './programs.ts'
import { ServerProcess } from './server-process.ts'
import { which } from './tools.ts'

const VERSIONS = '/usr/lib/postgresql'
const fromDebian = apt(
  {
    name: 'postgres',
    command: 'postgres',
    image: 'postgres:15',
    remedy: 'Install PostgreSQL, start a container engine, or set TEST_POSTGRES_URL to a database of yours.',
  },
  'postgresql',
)
/** Where the program comes from. Debian keeps it off the `PATH`. */
export const postgresSource: ProgramSource = {
  ...fromDebian,
  async find() {
    const versions = await readdir(VERSIONS).catch(() => [])
    const [newest] = versions.sort((a, b) => Number(b) - Number(a))
    return (await which('postgres')) ?? (newest === undefined ? undefined : join(VERSIONS, newest, 'bin/postgres'))
  },
}

/** A server of a test's own. */
export interface PostgresServer extends AsyncDisposable {
  /** Of a superuser, to the database `postgres`. */
  readonly url: string
  readonly host: string
  readonly port: number
  /** Kills it and all its backends at once, as a power failure does. */
  kill(): Promise<void>
  /** Starts it again, on the same port and data. */
  start(): Promise<void>
  /** Stops it and all its backends in their tracks; connections stay open. */
  pause(): Promise<void>
  resume(): Promise<void>
  /** Runs one statement. */
  query<Row extends QueryResultRow>(text: string, values?: unknown[]): Promise<Row[]>
}

const HOST = '127.0.0.1'
/** It refuses to run as root, and its data must be its user's. */
const SCRIPT = `
set -e
as=""
if [ "$(id -u)" = 0 ]; then as="setpriv --reuid=postgres --regid=postgres --clear-groups"; fi
if [ ! -e "$DATA/PG_VERSION" ]; then
  mkdir -p "$DATA"
  if [ -n "$as" ]; then chown postgres:postgres "$DATA"; fi
  $as "$BIN"initdb -D "$DATA" -U postgres -A trust --encoding=UTF8 --locale=C.UTF-8 --no-sync
fi
exec $as "$BIN"postgres -D "$DATA" "$@"
`

/** Starts a server with fsync on; what it has committed survives `kill()` and `start()`. */
export async function startPostgres({
  settings = {},
}: { settings?: Readonly<Record<string, string>> } = {}): Promise<PostgresServer> {
  const program = await have(postgresSource)
  let port = 0
  const url = (): string => `postgres://postgres@${HOST}:${port}/postgres`
  const all = {
    listen_addresses: HOST,
    unix_socket_directories: '',
    fsync: 'on',
    max_connections: '200',
    shared_buffers: '64MB',
    ...settings,
  }
  const server = await ServerProcess.launch('postgres', 1, async ({ dir, ports }) => {
    ;[port] = ports as [number]
    for (let folder = dir; folder !== dirname(folder); folder = dirname(folder)) {
      const { mode, uid } = await stat(folder)
      if ((mode & 0o001) === 0 && uid === process.getuid?.()) await chmod(folder, (mode & 0o777) | 0o011)
    }
    return {
      name: 'postgres',
      program: { ...program, command: 'sh' },
      args: [
        '-c',
        SCRIPT,
        'postgres',
        ...Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
        '-p',
        String(port),
      ],
      env: {
        BIN: program.container === undefined ? `${dirname(program.command)}/` : '',
        DATA: join(dir, 'data'),
        HOME: dir,
        LC_ALL: 'C.UTF-8',
      },
      startTimeoutMs: 60_000,
      isReady: async () => (await query(url(), 'select 1')).length === 1,
    }
  })
  /** Each backend is a process group of its own, so a signal to the server's group does not reach it. */
  const backends = async (): Promise<number[]> => {
    const { pid } = server
    if (pid === undefined) return []
    const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')
    return children
      .split(' ')
      .map(Number)
      .filter((child) => child > 0)
  }
  const signal = (pids: readonly number[], name: NodeJS.Signals): void => {
    for (const pid of pids)
      try {
        process.kill(pid, name)
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
      }
  }
  return {
    url: url(),
    host: HOST,
    port,
    async kill() {
      const children = await backends()
      const gone = server.kill()
      signal(children, 'SIGKILL')
      await gone
    },
    start: () => server.start(),
    async pause() {
      server.pause()
      signal(await backends(), 'SIGSTOP')
    },
    async resume() {
      signal(await backends(), 'SIGCONT')
      server.resume()
    },
    query: (text, values) => query(url(), text, values),
    async [Symbol.asyncDispose]() {
      signal(await backends(), 'SIGCONT')
      if (server.pid !== undefined) server.resume()
      await server.kill('SIGINT') // SIGTERM would wait for clients
      await server[Symbol.asyncDispose]()
    },
  }
}

/** Runs one statement on a server, by a connection of its own. */
export async function query<Row extends QueryResultRow>(
  url: string,
  text: string,
  values: unknown[] = [],
): Promise<Row[]> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 2000 })
  client.on('error', () => undefined) // the statement under way is rejected with it
  try {
    await client.connect()
    return (await client.query<Row>(text, values)).rows
  } finally {
    await client.end()
  }
}
