// The official clients behind one face, so that one suite serves them all.
import { Client as Client2, StreamableHTTPClientTransport as Http2 } from '@modelcontextprotocol/client'
import { StdioClientTransport as Stdio2 } from '@modelcontextprotocol/client/stdio'
import { Client as Client1 } from '@modelcontextprotocol/sdk/client/index.js'
import { StdioClientTransport as Stdio1 } from '@modelcontextprotocol/sdk/client/stdio.js'
import { StreamableHTTPClientTransport as Http1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import type { Transport as Transport1 } from '@modelcontextprotocol/sdk/shared/transport.js'
import { CLI } from '../conformance/server.ts'

/** Where a client finds the server: the URL of a running one, or the module that it starts over stdio. */
export type Target = { transport: 'http'; url: string } | { transport: 'stdio'; definition: string; cwd: string }

/** What a call may be given beside its arguments. */
export interface CallOptions {
  signal?: AbortSignal
  onprogress?: (progress: { progress: number; total?: number | undefined; message?: string | undefined }) => void
  /** Level of the logs that the call asks for; before 2026-07-28 that is a setting of the session. */
  logLevel?: 'debug' | 'info' | 'warning'
}

/** The methods that are the same in both major versions of the official client. */
type Common = Pick<
  Client2,
  | 'listTools'
  | 'listResources'
  | 'listResourceTemplates'
  | 'readResource'
  | 'listPrompts'
  | 'getPrompt'
  | 'complete'
  | 'ping'
  | 'getServerVersion'
  | 'getServerCapabilities'
  | 'getInstructions'
>

/** A connected client. */
export interface Session extends AsyncDisposable {
  readonly client: Common
  /** Every notification that came, except progress. */
  readonly notifications: { method: string; params?: Record<string, unknown> | undefined }[]
  call(name: string, args?: Record<string, unknown>, options?: CallOptions): Promise<CallResult>
  /** Asks for updates of resources; resolves to the function that stops them. */
  subscribe(...uris: string[]): Promise<() => Promise<unknown>>
  /** Ends the session of a 2025 revision over HTTP; elsewhere there is none. */
  end(): Promise<void>
  /** Asks for changes of the lists, where that must be asked for. */
  watchLists(): Promise<void>
}

/** The result of a call, as both clients give it. */
export interface CallResult {
  content: { type: string; text?: string; [key: string]: unknown }[]
  structuredContent?: unknown
  isError?: boolean
}

/** One kind of client. */
export interface Kind {
  readonly name: string
  /** The revision that it ends up with. */
  readonly revision: '2026-07-28' | '2025-11-25' | '2025-06-18' | '2025-03-26'
  /** The code that its errors have for a missing resource; 2.x translates the code of 2025 into that of 2026. */
  readonly notFoundCode: -32602 | -32002
  connect(target: Target): Promise<Session>
}

const INFO = { name: 'client-tests', version: '4.5.6' }
const LOG_LEVEL = 'io.modelcontextprotocol/logLevel'

const stdioParameters = (target: Target & { transport: 'stdio' }) => ({
  command: process.execPath,
  args: [CLI, 'serve', target.definition, '--stdio'],
  cwd: target.cwd,
  stderr: 'ignore' as const,
})

async function connect2(target: Target, options: ConstructorParameters<typeof Client2>[1]): Promise<Session> {
  const client = new Client2(INFO, options)
  const notifications: Session['notifications'] = []
  client.fallbackNotificationHandler = async (notification) => void notifications.push(notification)
  const transport = target.transport === 'http' ? new Http2(new URL(target.url)) : new Stdio2(stdioParameters(target))
  await client.connect(transport)
  const isModern = client.getProtocolEra() === 'modern'
  return {
    client,
    notifications,
    async call(name, args = {}, { logLevel, ...options } = {}) {
      if (logLevel && !isModern) await client.setLoggingLevel(logLevel)
      const meta = logLevel && isModern ? { _meta: { [LOG_LEVEL]: logLevel } } : {}
      return (await client.callTool({ name, arguments: args, ...meta }, options)) as CallResult
    },
    async subscribe(...uris) {
      if (isModern) {
        const subscription = await client.listen({ resourceSubscriptions: uris })
        return () => subscription.close()
      }
      await Promise.all(uris.map((uri) => client.subscribeResource({ uri })))
      return () => Promise.all(uris.map((uri) => client.unsubscribeResource({ uri })))
    },
    end: async () => (transport instanceof Http2 ? transport.terminateSession() : undefined),
    async watchLists() {
      if (isModern)
        await client.listen({ toolsListChanged: true, promptsListChanged: true, resourcesListChanged: true })
    },
    [Symbol.asyncDispose]: () => client.close(),
  }
}

async function connect1(target: Target): Promise<Session> {
  const client = new Client1(INFO)
  const notifications: Session['notifications'] = []
  client.fallbackNotificationHandler = async (notification) => void notifications.push(notification)
  const transport = target.transport === 'http' ? new Http1(new URL(target.url)) : new Stdio1(stdioParameters(target))
  // The transport's declaration is not written for `exactOptionalPropertyTypes`.
  await client.connect(transport as Transport1)
  return {
    client: client as unknown as Common,
    notifications,
    async call(name, args = {}, { logLevel, ...options } = {}) {
      if (logLevel) await client.setLoggingLevel(logLevel)
      return (await client.callTool({ name, arguments: args }, undefined, options)) as CallResult
    },
    async subscribe(...uris) {
      await Promise.all(uris.map((uri) => client.subscribeResource({ uri })))
      return () => Promise.all(uris.map((uri) => client.unsubscribeResource({ uri })))
    },
    end: async () => (transport instanceof Http1 ? transport.terminateSession() : undefined),
    watchLists: async () => undefined,
    [Symbol.asyncDispose]: () => client.close(),
  }
}

const legacy2 = (revision: Kind['revision']): Kind => ({
  name: `client 2.x that knows ${revision} alone`,
  revision,
  notFoundCode: -32602,
  connect: (target) => connect2(target, { supportedProtocolVersions: [revision] }),
})

/** Every official client, at every revision that it can be held to. */
export const KINDS: readonly Kind[] = [
  {
    name: 'client 2.x held to 2026-07-28',
    revision: '2026-07-28',
    notFoundCode: -32602,
    connect: (target) => connect2(target, { versionNegotiation: { mode: { pin: '2026-07-28' } } }),
  },
  {
    name: 'client 2.x that negotiates',
    revision: '2026-07-28',
    notFoundCode: -32602,
    connect: (target) => connect2(target, { versionNegotiation: { mode: 'auto' } }),
  },
  {
    name: 'client 2.x as it comes',
    revision: '2025-11-25',
    notFoundCode: -32602,
    connect: (target) => connect2(target, {}),
  },
  legacy2('2025-06-18'),
  legacy2('2025-03-26'),
  { name: 'sdk 1.x', revision: '2025-11-25', notFoundCode: -32002, connect: connect1 },
]
