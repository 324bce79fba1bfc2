// HAProxy 2.6 as people put it before their nodes: strict round robin, no affinity, health by /readyz.
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { apt, have } from './programs.ts'
import { ServerProcess } from './server-process.ts'

/** Where the program comes from. */
export const haproxySource = apt(
  {
    name: 'haproxy',
    command: 'haproxy',
    image: 'haproxy:2.6',
    remedy:
      'Install haproxy, or start a container engine; none of yours can be used, since the tests write its configuration.',
  },
  'haproxy',
)

/** A running HAProxy. */
export interface Haproxy extends AsyncDisposable {
  readonly origin: string
  readonly process: ServerProcess
}

/** The configuration of `docs/operations.md`, with the test's addresses. */
const configuration = (port: number, nodes: readonly string[]): string => `
defaults
  mode http
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  timeout tunnel 1h
  option http-no-delay
  option redispatch
  retries 3

frontend mcp
  bind 127.0.0.1:${port}
  default_backend nodes

backend nodes
  balance roundrobin
  option httpchk GET /readyz
  default-server check inter 500ms fall 2 rise 1
${nodes.map((node, index) => `  server node${index + 1} ${node}`).join('\n')}
`

/** Starts one before nodes given as `host:port`, on a free port or the one asked for; ready when one of them answers through it. */
export async function startHaproxy(nodes: readonly string[], port?: number): Promise<Haproxy> {
  const program = await have(haproxySource)
  let origin = ''
  const server = await ServerProcess.launch('haproxy', 1, async ({ dir, ports: [free] }) => {
    const listenPort = port ?? free!
    origin = `http://127.0.0.1:${listenPort}`
    const file = join(dir, 'haproxy.cfg')
    await writeFile(file, configuration(listenPort, nodes))
    return {
      name: 'haproxy',
      program,
      args: ['-db', '-f', file],
      startTimeoutMs: 5000,
      isReady: async () =>
        (await fetch(`${origin}/readyz`, { headers: { connection: 'close' }, signal: AbortSignal.timeout(2000) })).ok,
    }
  })
  return { origin, process: server, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() }
}
