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
  /** Tasks: at full speed, how often. */
  taskRounds: number
  /** Tasks: creations at full speed; what is left over is run afterwards. */
  taskPeakMs: number
  /** Tasks: an open loop. */
  taskPacedMs: number
  /** Tasks: jobs that were there before their worker. */
  taskBacklog: number
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
  taskRounds: 3,
  taskPeakMs: 3000,
  taskPacedMs: 10_000,
  taskBacklog: 10_000,
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
  taskRounds: 1,
  taskPeakMs: 1500,
  taskPacedMs: 3000,
  taskBacklog: 2000,
}

export interface Context {
  cores: Cores
  load: LoadProcess
  budget: Budget
  targets: readonly Target[]
  tasks: TaskChoice
  /** A folder that is removed at the end. */
  scratchDir: string
}

/** Which of what concerns tasks is measured. */
export interface TaskChoice {
  /** `store+queue`, or a store; all where it is absent. */
  pairs: readonly string[] | undefined
  /** Rows beside which claims are timed. */
  rows: readonly number[]
  /** Job libraries beside Holdfast. */
  hasPeers: boolean
}

/** What a section found: text for people, data for the file, and whether every answer was right. */
export interface SectionReport {
  title: string
  text: string
  data: unknown
  failures: number
}
