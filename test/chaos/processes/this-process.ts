// What is of this process alone: who it is, its history, and how it is to die.
import { HistoryWriter } from '../history.ts'
import type { BrokenBuild } from './broken.ts'
import { Crash } from './crash.ts'
import { Holdings } from './recorded.ts'

/** What a node or a worker is told at its start. */
export interface MemberSettings {
  readonly name: string
  readonly role: 'node' | 'worker'
  readonly history: string
  readonly tasks: string
  readonly queue: string
  readonly state: string
  readonly keys: string
  readonly apiKeys: readonly { readonly id: string; readonly hash: string; readonly subject: string }[]
  readonly controlPort: number
  readonly httpPort: number
  readonly concurrency: number
  readonly leaseMs: number
  readonly hungAfterMs: number
  readonly retentionMs: number
  readonly build?: BrokenBuild
}

export const settings = JSON.parse(process.argv[2]!) as MemberSettings
export const history = new HistoryWriter(settings.history, settings.name)
export const crash = new Crash(history)
export const holdings = new Holdings()
