/** What three nodes over one Redis cost: opening a session, a call on each of them, a question whose answer comes elsewhere. */
import { randomBytes } from 'node:crypto'
import { Agent, request } from 'node:http'
import { setTimeout as wait } from 'node:timers/promises'
import { startRedis } from '../../test/servers/redis.ts'
import type { RedisServer } from '../../test/servers/redis.ts'
import type { Context, SectionReport } from '../lib/context.ts'
import { cpuReading } from '../lib/process-figures.ts'
import { clearProgress, progress } from '../lib/progress.ts'
import { callTool, send } from '../lib/send.ts'
import { startServer } from '../lib/server-process.ts'
import type { ServerProcess } from '../lib/server-process.ts'
import { quantile } from '../lib/stats.ts'
import { table } from '../lib/table.ts'
import { holdfastCommand } from '../lib/targets.ts'

/** Calls a second to each node: what three nodes, the store and the clients can do on two cores. */
const ratePerNode = 400
const roundMs = 5000
const rounds = 5
const sessions = 200
const questionsAtATime = 10

/** Starts three nodes, each a process, on one Redis. */
export async function nodes(context: Context): Promise<SectionReport> {
  const title = 'Three nodes over one Redis'
  progress('nodes: starting Redis and three nodes')
  await using redis = await startRedis()
  const keys = `bench:${randomBytes(32).toString('base64')}`
  const servers: ServerProcess[] = []
  const agent = new Agent({ keepAlive: true, maxSockets: 64 })
  try {
    for (let index = 0; index < 3; index++) {
      const command = holdfastCommand(`holdfast-node-${index}`, 'asking.ts', `${context.scratchDir}/node-${index}`)
      const env = { ...command.env, HOLDFAST_STATE_URL: redis.url, HOLDFAST_KEYS: keys }
      const first = (port: number) => ({
        bytes: Buffer.from(`GET /readyz HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: close\r\n\r\n`),
        accept: (head: { status: number }) => head.status === 200,
      })
      servers.push(await startServer({ ...command, env }, { cores: context.cores, first }))
    }
    const ports = servers.map(({ port }) => port)
    progress('nodes: opening sessions')
    const commands = await commandsOfSessions(redis, ports, agent)
    progress('nodes: questions across nodes')
    const waits = await questions(ports, agent)
    const cpu: { alone: number[]; together: number[] } = { alone: [], together: [] }
    await load(ports, agent, 2000) // warm-up
    for (let round = 0; round < rounds; round++) {
      progress(`nodes: calls, round ${round + 1} of ${rounds}`)
      cpu.alone.push(...(await cpuPerCall(servers.slice(round % 3, (round % 3) + 1), agent)))
      cpu.together.push(...(await cpuPerCall(servers, agent)))
    }
    clearProgress()
    const [alone, together] = [median(cpu.alone), median(cpu.together)]
    const rows = [
      ['commands to Redis for one `initialize`', commands.toFixed(2), '0'],
      [`µs of processor for a call, one node at ${ratePerNode}/s`, alone.toFixed(0), ''],
      [`the same with three nodes at ${ratePerNode}/s each`, together.toFixed(0), ''],
      ['three nodes beside one', (together / alone).toFixed(2), '0.90 to 1.10'],
      ['question answered at another node, p50 ms', quantile(waits, 0.5).toFixed(2), '5 or less'],
      ['question answered at another node, p99 ms', quantile(waits, 0.99).toFixed(2), ''],
    ]
    return { title, text: table(['', 'measured', 'wanted'], rows), data: { commands, waits, cpu }, failures: 0 }
  } finally {
    agent.destroy()
    await Promise.all(servers.map((server) => server.stop()))
  }
}

async function openSession(port: number, agent: Agent): Promise<string> {
  const params = {
    protocolVersion: '2025-11-25',
    capabilities: { elicitation: {} },
    clientInfo: { name: 'bench', version: '1' },
  }
  const { headers } = await send(port, agent, { id: 0, method: 'initialize', params })
  return headers['mcp-session-id'] as string
}

/** Commands that Redis has processed for each `initialize`; the nodes' own pings are counted first, and taken off. */
async function commandsOfSessions(redis: RedisServer, ports: readonly number[], agent: Agent): Promise<number> {
  const processed = async (): Promise<number> => {
    const stats = String(await redis.command('INFO', 'stats'))
    return Number(/total_commands_processed:(\d+)/.exec(stats)![1])
  }
  const during = async (work: () => Promise<unknown>): Promise<{ commands: number; ms: number }> => {
    const [before, startedAt] = [await processed(), performance.now()]
    await work()
    return { commands: (await processed()) - before - 1, ms: performance.now() - startedAt }
  }
  await openSession(ports[0]!, agent)
  const opening = await during(async () => {
    for (let index = 0; index < sessions; index++) await openSession(ports[index % ports.length]!, agent)
  })
  const idle = await during(() => wait(opening.ms))
  return Math.max(0, opening.commands - idle.commands) / sessions
}

/** Milliseconds that handlers waited for answers which reached the node after theirs. */
async function questions(ports: readonly number[], agent: Agent): Promise<number[]> {
  const waits: number[] = []
  for (let index = 0; index < questionsAtATime * 3; index++) {
    const [here, there] = [ports[index % 3]!, ports[(index + 1) % 3]!]
    const session = await openSession(here, agent)
    const headers = { 'mcp-session-id': session, 'mcp-protocol-version': '2025-11-25' }
    waits.push(...(await callAndAnswer(here, there, agent, headers)))
  }
  return waits
}

function callAndAnswer(here: number, there: number, agent: Agent, headers: Record<string, string>): Promise<number[]> {
  return new Promise((resolve, reject) => {
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'ask', arguments: {} } })
    const all = {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'content-length': String(Buffer.byteLength(body)),
      ...headers,
    }
    const sent = request(
      { host: '127.0.0.1', port: here, path: '/mcp', method: 'POST', agent, headers: all },
      (response) => {
        let text = ''
        response.setEncoding('utf8')
        response.on('error', reject)
        response.on('data', (chunk: string) => {
          text += chunk
          for (let end = text.indexOf('\n\n'); end !== -1; end = text.indexOf('\n\n')) {
            const data = /^data: (\{.*)$/m.exec(text.slice(0, end))?.[1]
            text = text.slice(end + 2)
            if (data === undefined) continue
            const message = JSON.parse(data) as {
              id?: unknown
              method?: string
              result?: { content: { text: string }[] }
            }
            if (message.method === 'elicitation/create') {
              const result = { action: 'accept', content: { ok: true } }
              send(there, agent, { id: message.id, result }, headers).catch(reject)
            } else if (message.result !== undefined) resolve(JSON.parse(message.result.content[0]!.text) as number[])
          }
        })
      },
    )
    sent.on('error', reject)
    sent.end(body)
  })
}

/** Calls each node `ratePerNode` times a second; resolves to how many each answered. */
async function load(ports: readonly number[], agent: Agent, durationMs: number): Promise<number[]> {
  const counts = ports.map(() => 0)
  const open: Promise<void>[] = []
  const startedAt = performance.now()
  for (let due = 0; due < durationMs; due += 1000 / ratePerNode) {
    const early = startedAt + due - performance.now()
    if (early > 1) await wait(early)
    for (const [index, port] of ports.entries())
      open.push(
        callTool(port, agent, 'add', { a: 1, b: 2 }).then(({ status, body }) => {
          if (status !== 200 || !body.includes('"text":"3"')) throw new Error(`a node answered ${status}: ${body}`)
          counts[index]!++
        }),
      )
  }
  await Promise.all(open)
  return counts
}

/** Microseconds of processor time for a call, of each of these nodes. */
async function cpuPerCall(servers: readonly ServerProcess[], agent: Agent): Promise<number[]> {
  const read = (): number[] => servers.map(({ pid }) => cpuReading(pid)?.usedMs ?? Number.NaN)
  const before = read()
  const counts = await load(
    servers.map(({ port }) => port),
    agent,
    roundMs,
  )
  const after = read()
  return counts.map((count, index) => ((after[index]! - before[index]!) * 1000) / count)
}

const median = (values: readonly number[]): number => quantile(values, 0.5)
