/** The servers that are compared, and how each is started and called. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { callMessage, initializeMessage, listMessage, operandsOf, postBytes } from './load/request.ts'
import type { Operation, Wire } from './load/request.ts'
import { messageOf } from './load/verify.ts'
import { peersDir } from './peers.ts'
import { makeToken, tokenAudience, tokenIssuer, tokenKeys } from './token.ts'
import type { ServerCommand, StartOptions } from './server-process.ts'

/** A server under test, called over one wire. */
export interface Target {
  name: string
  /** How the table calls it. */
  label: string
  wire: Wire
  path: string
  command: ServerCommand
  /** Package in `bench/peers` whose version the table names; absent for our own servers. */
  package?: string
  /** Open event streams it grants at most, where that is fewer than the bench would open. */
  maxStreams?: number
}

const modern: Wire = { revision: '2026-07-28', mode: 'envelope' }
const session: Wire = { revision: '2025-11-25', mode: 'session' }
const stateless: Wire = { revision: '2025-11-25', mode: 'stateless' }

const file = (path: string): string => fileURLToPath(new URL(`../${path}`, import.meta.url))

/** Where `npm run build` leaves the command line of Holdfast. */
export const holdfastCli = file('../dist/cli/main.js')

/** How Holdfast serves a definition of `bench/servers`. */
export function holdfastCommand(name: string, definition: string, dataDir: string): ServerCommand {
  return {
    name,
    args: [holdfastCli, 'serve', file(`servers/${definition}`)],
    env: { HOLDFAST_DATA_DIR: dataDir },
  }
}

/** The same behind tokens. */
function authenticatedCommand(dataDir: string): ServerCommand {
  const command = holdfastCommand('holdfast-token', 'authenticated.ts', dataDir)
  const env = { BENCH_KEYS: tokenKeys, BENCH_ISSUER: tokenIssuer, BENCH_AUDIENCE: tokenAudience }
  return { ...command, env: { ...command.env, ...env } }
}

/** A server of `bench/servers` that is a program by itself. */
export function scriptCommand(name: string, script: string, env: Readonly<Record<string, string>> = {}): ServerCommand {
  return { name, args: [file(`servers/${script}`)], env }
}

function peer(name: string, script: string, wire: Wire, packageName: string): Target {
  const command = { name, args: [join(peersDir, script)], cwd: peersDir }
  return { name, label: packageName, wire, path: '/mcp', command, package: packageName }
}

/** Name of the reference of every ratio. */
export const reference = 'plain'

/** All targets, the reference first. */
export function allTargets(dataDir: string): Target[] {
  const holdfast = (suffix: string, wire: Wire): Target => {
    const name = `holdfast-${suffix}`
    return { name, label: 'Holdfast', wire, path: '/mcp', command: holdfastCommand(name, 'holdfast.ts', dataDir) }
  }
  return [
    {
      name: reference,
      label: 'plain node:http',
      wire: modern,
      path: '/mcp',
      command: scriptCommand(reference, 'plain.ts'),
    },
    holdfast('2026', modern),
    holdfast('2025', session),
    {
      name: 'holdfast-token',
      label: 'Holdfast, with a token',
      wire: { ...modern, authorization: `Bearer ${makeToken()}` },
      path: '/mcp',
      command: authenticatedCommand(dataDir),
    },
    peer('sdk2-2026', 'sdk2.js', modern, '@modelcontextprotocol/server'),
    peer('sdk2-2025', 'sdk2.js', stateless, '@modelcontextprotocol/server'),
    peer('sdk1-stateless', 'sdk1-stateless.js', stateless, '@modelcontextprotocol/sdk'),
    peer('sdk1-sessions', 'sdk1-sessions.js', session, '@modelcontextprotocol/sdk'),
    peer('fastmcp', 'fastmcp.js', stateless, 'fastmcp'),
    // It grants 1,024 streams and has no setting for it.
    { ...peer('mcp-use', 'mcp-use.js', modern, 'mcp-use'), maxStreams: 1000 },
    peer('tmcp', 'tmcp.js', modern, 'tmcp'),
  ]
}

/**
 * The targets whose name, or the part of it before a dash, is in `only`; the reference is always among them.
 *
 * @throws Error naming the unknown name and the known ones.
 */
export function selectTargets(targets: readonly Target[], only: readonly string[]): Target[] {
  const matches = (target: Target, name: string): boolean => target.name === name || target.name.startsWith(`${name}-`)
  const unknown = only.find((name) => !targets.some((target) => matches(target, name)))
  if (unknown !== undefined) {
    throw new Error(
      `no server is named ${JSON.stringify(unknown)}: choose from ${targets.map(({ name }) => name).join(', ')}`,
    )
  }
  return targets.filter((target) => target.name === reference || only.some((name) => matches(target, name)))
}

/** Why a target cannot run here, or `undefined`. */
export function missing(target: Target): string | undefined {
  const script = target.command.args[0]!
  if (script === holdfastCli && !existsSync(script)) return 'not built: run `npm run build` first'
  return undefined
}

/**
 * The first request of a target and the test of its answer: the handshake where the wire has one, else `operation`
 * itself.
 */
export function firstRequest({ wire, path }: Target, operation: Operation): StartOptions['first'] {
  const { a, b } = operandsOf(1)
  const [message, expected] =
    wire.mode === 'session'
      ? [initializeMessage(wire.revision), `"protocolVersion":"${wire.revision}"`]
      : operation === 'add'
        ? [callMessage(1, { a, b }), `"text":"${a + b}"`]
        : [listMessage(1), '"tools":']
  return (port) => ({
    bytes: postBytes(message, wire, { port, path }),
    accept: (head, body) => head.status === 200 && JSON.stringify(messageOf(head, body)).includes(expected),
  })
}
