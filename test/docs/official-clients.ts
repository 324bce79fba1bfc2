import { Client as Client2, StreamableHTTPClientTransport as Http2 } from '@modelcontextprotocol/client'
import { Client as Client1 } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport as Http1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js'
import { expect } from 'vitest'

/** A connected client: what the official ones of both majors have in common. */
export interface Official {
  readonly kind: string
  tools(): Promise<{ name: string; inputSchema: unknown; outputSchema?: unknown }[]>
  call(name: string, args: Record<string, unknown>, onprogress?: (step: { progress: number }) => void): Promise<object>
  read(uri: string): Promise<object>
  prompt(name: string, args: Record<string, string>): Promise<object>
}

/** Runs the same with the official clients: 1.x; 2.x as it comes, which speaks 2025-11-25; 2.x that looks for 2026-07-28. */
export async function eachClient(
  url: string,
  kinds: readonly string[],
  use: (client: Official) => Promise<void>,
): Promise<void> {
  for (const kind of kinds) {
    const info = { name: 'docs', version: '1.0.0' }
    if (kind === '1.x') {
      const client = new Client1(info)
      await client.connect(new Http1(new URL(url)) as Transport)
      await use({
        kind,
        tools: async () => (await client.listTools()).tools,
        call: (name, args, onprogress) =>
          client.callTool({ name, arguments: args }, undefined, onprogress === undefined ? {} : { onprogress }),
        read: (uri) => client.readResource({ uri }),
        prompt: (name, args) => client.getPrompt({ name, arguments: args }),
      })
      await client.close()
    } else {
      const client = new Client2(info, { versionNegotiation: { mode: kind === '2.x, 2026' ? 'auto' : 'legacy' } })
      await client.connect(new Http2(new URL(url)))
      expect(client.getProtocolEra()).toBe(kind === '2.x, 2026' ? 'modern' : 'legacy')
      await use({
        kind,
        tools: async () => (await client.listTools()).tools,
        call: (name, args, onprogress) =>
          client.callTool({ name, arguments: args }, onprogress === undefined ? {} : { onprogress }),
        read: (uri) => client.readResource({ uri }),
        prompt: (name, args) => client.getPrompt({ name, arguments: args }),
      })
      await client.close()
    }
  }
}
/** All of them. */
export const KINDS = ['1.x', '2.x, 2025', '2.x, 2026']
