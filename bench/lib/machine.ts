/** Where a result was measured. */
import { execFileSync } from 'node:child_process'
import { cpus, loadavg, totalmem } from 'node:os'
import type { Cores } from './cores.ts'

export interface Machine {
  cpu: string
  cores: number
  memoryBytes: number
  platform: string
  node: string
  pinning: string
  /** Commit that is measured, marked when files differ from it; absent outside a checkout. */
  commit?: string
}

export function describeMachine(cores: Cores): Machine {
  const all = cpus()
  return {
    cpu: all[0]?.model.trim() ?? 'unknown',
    cores: all.length,
    memoryBytes: totalmem(),
    platform: `${process.platform} ${process.arch}`,
    node: process.version,
    pinning: cores.note,
    ...commit(),
  }
}

/** Says what else the machine was doing: with more to do than it has cores, latencies are those of waiting for one. */
export function loadNote(): string {
  const [minute, five] = loadavg()
  return `Load average at the end: ${minute!.toFixed(1)} over a minute, ${five!.toFixed(1)} over five.`
}

function commit(): { commit?: string } {
  try {
    const answer = execFileSync('git', ['describe', '--always', '--dirty'], {
      cwd: import.meta.dirname,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    return { commit: answer.trim() }
  } catch {
    // Not a checkout, or no git here: the result stands without it.
    return {}
  }
}
