// Toxiproxy 2.5: a TCP proxy that delays, cuts, resets and swallows.
import { goModule, have } from './programs.ts'
import { ServerProcess } from './server-process.ts'
import { freePorts } from './tools.ts'

/** Where the program comes from. */
export const toxiproxySource = goModule(
  {
    name: 'toxiproxy',
    command: 'toxiproxy-server',
    image: 'ghcr.io/shopify/toxiproxy:2.5.0',
    remedy:
      'Install Go, or a program named toxiproxy-server on PATH, start a container engine, or set TEST_TOXIPROXY_URL to the API of a Toxiproxy on this machine.',
  },
  'github.com/Shopify/toxiproxy/v2/cmd/server@v2.5.0',
  'server',
)

/** What a link can be made to do, with its settings (times in ms, sizes in bytes, rate in KB/s). */
export interface Toxics {
  latency: { latency: number; jitter?: number }
  /** Lets nothing through, and closes after `timeout`; 0: never. */
  timeout: { timeout: number }
  reset_peer: { timeout: number }
  limit_data: { bytes: number }
  bandwidth: { rate: number }
}

/** A proxied connection to one server. */
export interface Link {
  readonly host: string
  readonly port: number
  /** Makes the link ill. `stream`: which direction; by default what the server answers. */
  add<Type extends keyof Toxics>(
    type: Type,
    attributes: Toxics[Type],
    options?: { stream?: 'upstream' | 'downstream' },
  ): Promise<void>
  /** Makes it well, and enables it. */
  clear(): Promise<void>
  /** Refuses connections, and closes those that are open. */
  disable(): Promise<void>
  enable(): Promise<void>
}

/** A running Toxiproxy. */
export interface Toxiproxy extends AsyncDisposable {
  /** A new link to an address. */
  proxy(name: string, upstream: { host: string; port: number }): Promise<Link>
}

const HOST = '127.0.0.1'
const TIMEOUT_MS = 5000

/** Starts one, or uses that of `TEST_TOXIPROXY_URL`. */
export async function startToxiproxy(): Promise<Toxiproxy> {
  const given = process.env['TEST_TOXIPROXY_URL']
  if (given !== undefined) return control(given, async () => undefined)
  const program = await have(toxiproxySource)
  let api = ''
  const server = await ServerProcess.launch('toxiproxy', 1, ({ ports: [port] }) => {
    api = `http://${HOST}:${port}`
    return {
      name: 'toxiproxy',
      program,
      args: ['-host', HOST, '-port', String(port)],
      isReady: async () => (await request(api, 'GET', '/version')).ok,
    }
  })
  return control(api, () => server[Symbol.asyncDispose]())
}

async function request(api: string, method: string, path: string, body?: unknown): Promise<Response> {
  return fetch(api + path, {
    method,
    // A kept connection would outlive the test file.
    headers: { 'content-type': 'application/json', connection: 'close' },
    signal: AbortSignal.timeout(TIMEOUT_MS),
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
}

function control(api: string, dispose: () => Promise<void>): Toxiproxy {
  const made: string[] = []
  const send = async (method: string, path: string, body?: unknown): Promise<string> => {
    const response = await request(api, method, path, body)
    const text = await response.text()
    if (!response.ok) throw new Error(`Toxiproxy answered ${method} ${path} with ${response.status}: ${text}`)
    return text
  }
  return {
    async proxy(name, upstream) {
      const [port] = (await freePorts(1)) as [number]
      const unique = `${name}-${process.pid}-${port}`
      const self = `/proxies/${unique}`
      await send('POST', '/proxies', {
        name: unique,
        listen: `${HOST}:${port}`,
        upstream: `${upstream.host}:${upstream.port}`,
        enabled: true,
      })
      made.push(self)
      const enable = (enabled: boolean) => send('POST', self, { enabled }).then(() => undefined)
      return {
        host: HOST,
        port,
        async add(type, attributes, { stream = 'downstream' } = {}) {
          await send('POST', `${self}/toxics`, { name: `${type}-${stream}`, type, stream, attributes })
        },
        async clear() {
          for (const { name } of JSON.parse(await send('GET', `${self}/toxics`)) as { name: string }[])
            await send('DELETE', `${self}/toxics/${name}`)
          await enable(true)
        },
        disable: () => enable(false),
        enable: () => enable(true),
      }
    },
    async [Symbol.asyncDispose]() {
      for (const path of made) await send('DELETE', path)
      await dispose()
    },
  }
}
