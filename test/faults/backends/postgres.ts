import { openPostgres } from '../../../src/backends/postgres/open.ts'
import { startPostgres } from '../../servers/postgres.ts'
import type { Backend } from '../backend.ts'
import { TASK_STORE_CELLS } from './task-store.ts'

/** A task store. */
export const postgres: Backend = {
  label: 'Postgres',
  async start(toxiproxy, stack) {
    const server = stack.use(await startPostgres())
    const link = await toxiproxy.proxy('postgres', server)
    const url = (port: number): string =>
      `postgres://postgres@127.0.0.1:${port}/postgres?connections=4&connectTimeoutMs=1500&statementTimeoutMs=1000`
    const store = await openPostgres(url(server.port), { forMigration: true })
    await store.migrate()
    await store.close()
    return { links: [link], options: { tasks: url(link.port) } }
  },
  // A connection (1.5 s), then a statement on it (1 s, and 1 s for the server to say so).
  boundMs: 4000,
  slowMs: 8000,
  recoverMs: 3000,
  attemptsPerSecond: 20,
  cells: TASK_STORE_CELLS,
}
