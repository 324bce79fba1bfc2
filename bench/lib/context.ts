/** What every section of the bench is given. */
import type { Cores } from './cores.ts'
import type { LoadProcess } from './load-process.ts'
import type { Target } from './targets.ts'

/** How long and how often things are measured. */
export interface Budget {
  rounds: number
  /** Load before the first round, per server. */
  warmupMs: number
  /** Load before the clock starts, in each round. */
  settleMs: number
  durationMs: number
  connections: number
  spawns: number
  streams: number
  listed: number
  /** Of the long overload; the shorter loads around it take a sixth each. */
  overloadMs: number
}

/** Many short rounds rather than few long ones: what disturbs a machine for seconds then disturbs all servers alike. */
export const fullBudget: Budget = {
  rounds: 15,
  warmupMs: 3000,
  settleMs: 300,
  durationMs: 1000,
  connections: 48,
  spawns: 11,
  streams: 10_000,
  listed: 1000,
  overloadMs: 60_000,
}

export const quickBudget: Budget = {
  ...fullBudget,
  rounds: 5,
  warmupMs: 1500,
  settleMs: 200,
  durationMs: 500,
  spawns: 3,
  streams: 1000,
  overloadMs: 12_000,
}

export interface Context {
  cores: Cores
  load: LoadProcess
  budget: Budget
  targets: readonly Target[]
  /** A folder that is removed at the end. */
  scratchDir: string
}

/** What a section found: text for people, data for the file, and whether every answer was right. */
export interface SectionReport {
  title: string
  text: string
  data: unknown
  failures: number
}
