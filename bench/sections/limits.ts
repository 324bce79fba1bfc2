/** The same `tools/call` at a server with limits: in memory, in Redis, and in Redis with leases. */
import { randomBytes } from 'node:crypto'
import { startRedis } from '../../test/servers/redis.ts'
import type { Context, SectionReport } from '../lib/context.ts'
import { progress } from '../lib/progress.ts'
import { pairedRatio } from '../lib/stats.ts'
import { ratio, table } from '../lib/table.ts'
import { holdfastCommand, reference } from '../lib/targets.ts'
import type { Target } from '../lib/targets.ts'
import { throughput } from './throughput.ts'
import type { Summary } from './throughput.ts'

const inMemory = 'limits-memory'

/** `undefined` where Holdfast is not among the targets. */
export async function limited(context: Context): Promise<SectionReport | undefined> {
  const plain = context.targets.find(({ name }) => name === reference)!
  const holdfast = context.targets.find(({ label, wire }) => label === 'Holdfast' && wire.mode === 'envelope')
  if (holdfast === undefined) return undefined
  progress('limits: starting Redis')
  await using redis = await startRedis()
  const shared = {
    HOLDFAST_STATE_URL: redis.url,
    HOLDFAST_KEYS: `bench:${randomBytes(32).toString('base64')}`,
  }
  const target = (name: string, label: string, env: Readonly<Record<string, string>>): Target => {
    const command = holdfastCommand(name, 'limited.ts', `${context.scratchDir}/${name}`)
    return { ...holdfast, name, label, command: { ...command, env: { ...command.env, ...env } } }
  }
  const targets: Target[] = [
    plain,
    { ...holdfast, label: 'no limits' },
    target(inMemory, 'in memory', {}),
    target('limits-redis', 'in Redis', shared),
    target('limits-leased', 'in Redis, leased', { ...shared, BENCH_LEASE_SHARE: '0.01' }),
  ]
  const report = await throughput({ ...context, targets }, 'add', 'tools/call held to limits')
  return { ...report, text: `${report.text}\n\n${besideMemory(report.data, targets)}` }
}

function besideMemory(summaries: readonly Summary[], targets: readonly Target[]): string {
  const base = summaries.find(({ name }) => name === inMemory)
  if (base === undefined) return 'The server with limits in memory could not be measured.'
  const rates = ({ rounds }: Summary): number[] => rounds.map(({ requestsPerSecond }) => requestsPerSecond)
  const cpu = ({ rounds }: Summary): number[] => rounds.map(({ cpuUsPerRequest }) => cpuUsPerRequest ?? NaN)
  const rows = summaries
    .filter(({ name }) => name !== reference)
    .map((summary) => [
      targets.find(({ name }) => name === summary.name)!.label,
      ratio(pairedRatio(rates(summary), rates(base))),
      pairedRatio(cpu(base), cpu(summary)).median.toFixed(2),
    ])
  return table(['limits', 'rate, of memory', 'calls for the same processor time'], rows)
}
