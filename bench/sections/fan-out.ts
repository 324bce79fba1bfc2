/** How long one change takes to reach every stream on three nodes. */
import { randomBytes } from 'node:crypto'
import { setTimeout as wait } from 'node:timers/promises'
import { startRedis } from '../../test/servers/redis.ts'
import type { Context, SectionReport } from '../lib/context.ts'
import type { FanOutResult } from '../lib/load/streams.ts'
import type { Wire } from '../lib/load/request.ts'
import { clearProgress, progress } from '../lib/progress.ts'
import { startServer } from '../lib/server-process.ts'
import type { ServerProcess } from '../lib/server-process.ts'
import { table, whole } from '../lib/table.ts'
import { holdfastCommand } from '../lib/targets.ts'

const streamsInAll = 3000
const rounds = 15
const wires: { label: string; wire: Wire }[] = [
  { label: '`subscriptions/listen` (2026-07-28)', wire: { revision: '2026-07-28', mode: 'envelope' } },
  { label: 'GET streams, logged (2025-11-25)', wire: { revision: '2025-11-25', mode: 'session' } },
]

/** Starts three nodes on one Redis, opens a third of the streams on each, and has changes announced on each in turn. */
export async function fanOut(context: Context): Promise<SectionReport> {
  const title = `One change to ${whole(streamsInAll)} streams on three nodes over one Redis`
  progress('fan-out: starting Redis and three nodes')
  await using redis = await startRedis()
  const keys = `bench:${randomBytes(32).toString('base64')}`
  const servers: ServerProcess[] = []
  try {
    for (let index = 0; index < 3; index++) {
      const command = holdfastCommand(
        `holdfast-fan-out-${index}`,
        'fan-out.ts',
        `${context.scratchDir}/fan-out-${index}`,
      )
      const env = { ...command.env, HOLDFAST_STATE_URL: redis.url, HOLDFAST_KEYS: keys }
      const first = (port: number) => ({
        bytes: Buffer.from(`GET /readyz HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: close\r\n\r\n`),
        accept: (head: { status: number }) => head.status === 200,
      })
      servers.push(await startServer({ ...command, env }, { cores: context.cores, first }))
    }
    const ports = servers.map(({ port }) => port)
    const measured: { label: string; results: FanOutResult[] }[] = []
    for (const { label, wire } of wires) {
      progress(`fan-out: opening ${streamsInAll} streams, ${label}`)
      for (const port of ports) await context.load.openStreams({ port, path: '/mcp', wire, count: streamsInAll / 3 })
      const results: FanOutResult[] = []
      for (let round = 0; round < rounds + 2; round++) {
        progress(`fan-out: ${label}, round ${round + 1}`)
        const result = await context.load.fanOut({ port: ports[round % 3]!, path: '/mcp' })
        if (round >= 2) results.push(result) // the first ones warm up
        await wait(100)
      }
      measured.push({ label, results })
      await context.load.closeStreams()
    }
    clearProgress()
    const rows = measured.map(({ label, results }) => {
      const last = results.map(({ lastMs }) => lastMs).toSorted((a, b) => a - b)
      const middle = results.map(({ medianMs }) => medianMs).toSorted((a, b) => a - b)
      const repeated = results.reduce((sum, { repeats }) => sum + repeats, 0)
      return [
        label,
        middle[middle.length >> 1]!.toFixed(1),
        last[last.length >> 1]!.toFixed(1),
        last.at(-1)!.toFixed(1),
        String(repeated),
        '200 or less',
      ]
    })
    const head = ['', 'half of them, ms', 'all, ms (median)', 'all, ms (worst)', 'told twice', 'wanted']
    const failures = measured.reduce((sum, { results }) => sum + results.filter(({ repeats }) => repeats > 0).length, 0)
    return { title, text: table(head, rows), data: measured, failures }
  } finally {
    await Promise.all(servers.map((server) => server.stop()))
  }
}
