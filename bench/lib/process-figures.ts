/** What the operating system says about another process: memory held and processor time used. */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

/** Processor time of a process so far. */
export interface CpuReading {
  /** User and system time of all its threads, milliseconds. */
  usedMs: number
  /** Time its main thread ran or stood ready to run, milliseconds; only Linux tells. */
  wantedMs: number | undefined
  /** Of that, time it stood ready while something else had the core, milliseconds. */
  waitedMs: number | undefined
}

/** Resident memory of a process in bytes. */
export function residentBytes(pid: number): number {
  if (process.platform === 'linux') {
    const match = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))
    if (match === null) throw new Error(`process ${pid} has no resident memory: it has ended`)
    return Number(match[1]) * 1024
  }
  return Number(execFileSync('ps', ['-o', 'rss=', '-p', String(pid)], { encoding: 'utf8' })) * 1024
}

let ticksPerSecond: number | undefined

/** Processor time of a process; `undefined` where the system offers no such file (other than Linux). */
export function cpuReading(pid: number): CpuReading | undefined {
  if (process.platform !== 'linux') return undefined
  ticksPerSecond ??= Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }))
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  // Fields 14 and 15, counted after the command name, which may hold spaces.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const usedMs = ((Number(fields[11]) + Number(fields[12])) * 1000) / ticksPerSecond
  const scheduled = readScheduled(pid)
  return { usedMs, wantedMs: scheduled?.wantedMs, waitedMs: scheduled?.waitedMs }
}

function readScheduled(pid: number): { wantedMs: number; waitedMs: number } | undefined {
  let text: string
  try {
    text = readFileSync(`/proc/${pid}/schedstat`, 'utf8')
  } catch {
    // The kernel was built without scheduler statistics.
    return undefined
  }
  const [ranNs = 0, waitedNs = 0] = text.split(' ').map(Number)
  return { wantedMs: (ranNs + waitedNs) / 1e6, waitedMs: waitedNs / 1e6 }
}
