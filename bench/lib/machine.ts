/** Where a result was measured. */
import { cpus, totalmem } from 'node:os'
import type { Cores } from './cores.ts'

export interface Machine {
  cpu: string
  cores: number
  memoryBytes: number
  platform: string
  node: string
  pinning: string
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
  }
}
