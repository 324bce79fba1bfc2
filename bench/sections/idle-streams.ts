/** What an open, idle event stream costs in memory. */
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import type { Context, SectionReport } from '../lib/context.ts'
import { clearProgress, progress } from '../lib/progress.ts'
import { startServer } from '../lib/server-process.ts'
import type { MemoryReading, ServerCommand } from '../lib/server-process.ts'
import { kibibytes, mebibytes, table, whole } from '../lib/table.ts'
import { firstRequest, holdfastCommand } from '../lib/targets.ts'
import type { Target } from '../lib/targets.ts'

interface StreamFigures {
  name: string
  label: string
  revision: string
  opened: number
  /** Streams the server closed by itself before the end. */
  lost: number
  before: MemoryReading
  open: MemoryReading
  closed: MemoryReading
}

/** Streams opened and closed before the first reading, so that code and pools are not counted as streams. */
const rehearsal = 200
/** Time for a server to notice that its streams are gone. */
const settleMs = 2000
/** Descriptors a process needs besides its streams. */
const spareDescriptors = 200

/** Opens idle streams at plain Node and at Holdfast on both wires, and reads memory after forced collections. */
export async function idleStreams(context: Context): Promise<SectionReport> {
  const targets = context.targets
    .filter(({ package: name, wire }) => name === undefined || wire.mode === 'envelope')
    .map((target) => (target.label === 'Holdfast' ? { ...target, command: roomy(context, target) } : target))
  const count = Math.min(context.budget.streams, descriptorLimit() - spareDescriptors)
  const title = `Idle event streams (${whole(count)} open)`
  const figures: StreamFigures[] = []
  const gaps: string[] = []
  for (const target of targets) {
    progress(`${title}: ${target.name}`)
    try {
      figures.push(await measure(context, target, Math.min(count, target.maxStreams ?? count)))
    } catch (error) {
      gaps.push(`${target.name} could not be measured: ${String(error)}`)
    }
  }
  clearProgress()
  const rows = figures.map((one) => [
    one.label,
    one.revision,
    whole(one.opened),
    kibibytes((one.open.rss - one.before.rss) / one.opened),
    kibibytes((one.open.heapUsed + one.open.external - one.before.heapUsed - one.before.external) / one.opened),
    mebibytes(one.before.rss),
    mebibytes(one.open.rss),
    mebibytes(one.closed.rss),
    kibibytes((one.closed.heapUsed - one.before.heapUsed) / one.opened),
    one.lost === 0 ? '' : `${one.lost} LOST`,
  ])
  const head = [
    'server',
    'wire',
    'open',
    'rss KiB/stream',
    'heap KiB/stream',
    'rss before',
    'open',
    'closed',
    'heap KiB left',
    '',
  ]
  const reduced = count < context.budget.streams ? [`Only ${whole(count)}: a process here may open no more files.`] : []
  const text = [table(head, rows), ...gaps, ...reduced].join('\n')
  return { title, text, data: figures, failures: figures.reduce((sum, { lost }) => sum + lost, gaps.length) }
}

function roomy({ scratchDir }: Context, { name }: Target): ServerCommand {
  return holdfastCommand(name, 'idle-streams.ts', join(scratchDir, 'data'))
}

async function measure({ cores, load }: Context, target: Target, count: number): Promise<StreamFigures> {
  const server = await startServer(target.command, { cores, first: firstRequest(target, 'add'), probe: true })
  const job = { port: server.port, path: target.path, wire: target.wire }
  try {
    await load.openStreams({ ...job, count: rehearsal })
    await load.closeStreams()
    const before = await server.memory()
    const { open: opened } = await load.openStreams({ ...job, count })
    const open = await server.memory()
    const { lost } = await load.closeStreams()
    await wait(settleMs)
    const closed = await server.memory()
    return {
      name: target.name,
      label: target.label,
      revision: target.wire.revision,
      opened,
      lost,
      before,
      open,
      closed,
    }
  } finally {
    // Also what was open when a stream was refused.
    await load.closeStreams()
    await server.stop()
  }
}

/** Files that one process may open; Node raises its own limit up to this by itself. */
function descriptorLimit(): number {
  if (process.platform === 'win32') return Infinity
  const answer = execFileSync('sh', ['-c', 'ulimit -Hn'], { encoding: 'utf8' }).trim()
  return answer === 'unlimited' ? Infinity : Number(answer)
}
