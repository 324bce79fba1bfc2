// Vitest's global set-up: one process that installs programs and holds the servers that test files share. Test files run in
// processes of their own and ask for them over HTTP (see shared.ts); nothing is installed or started before somebody asks.
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { PROGRAMS, SHARED, type ProgramName, type Reachable, type SharedName } from './catalog.ts'
import { have } from './programs.ts'

/** Where test files find the hub; not one of `HOLDFAST_…`, which servers under test would refuse. */
export const HUB_VARIABLE = 'TEST_SERVERS_HUB'

/** Opens the hub; vitest calls the function that it resolves to at the end. */
export default async function openHub(): Promise<() => Promise<void>> {
  const started = new Map<SharedName, Promise<Reachable & AsyncDisposable>>()
  const answer = async (path: string): Promise<unknown> => {
    const [, what, name = ''] = path.split('/')
    if (what === 'program' && Object.hasOwn(PROGRAMS, name))
      return { origin: (await have(PROGRAMS[name as ProgramName])).origin }
    if (what === 'server' && Object.hasOwn(SHARED, name)) {
      const key = name as SharedName
      const server: Promise<Reachable & AsyncDisposable> = started.get(key) ?? SHARED[key].start()
      started.set(key, server)
      server.catch(() => started.delete(key)) // the next who asks may be luckier
      const { url, caFile } = await server
      return { url, caFile }
    }
    throw new Error(`There is no ${what} ${name}.`)
  }
  const onRequest = (request: IncomingMessage, response: ServerResponse): void =>
    void answer(request.url!).then(
      (value) => response.end(JSON.stringify(value)),
      (error: Error) => response.writeHead(500).end(error.message),
    )
  const hub = createServer(onRequest).listen(0, '127.0.0.1')
  await once(hub, 'listening')
  process.env[HUB_VARIABLE] = `http://127.0.0.1:${(hub.address() as AddressInfo).port}`
  return async () => {
    delete process.env[HUB_VARIABLE]
    hub.close()
    hub.closeAllConnections()
    for (const result of await Promise.allSettled(started.values()))
      if (result.status === 'fulfilled') await result.value[Symbol.asyncDispose]()
  }
}
