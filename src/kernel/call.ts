import type { Cache } from '../cache/cache.ts'
import type { PlacedArtifacts } from '../artifacts/placed.ts'
import type { Principal } from '../define/context.ts'
import type { Operation } from '../ports/telemetry.ts'
import type { Guards } from '../resilience/guards.ts'
import type { TaskStarter } from './create-task.ts'
import type { InvocationFacts, Outcome } from './invocation.ts'
import type { Limited, Limits } from './limits.ts'
import type { KernelOptions, Services } from './services.ts'
import type { TaskView } from './task-engine.ts'

/** What a handler's call works with: so much must also be there where it runs apart from its worker (`tasks/isolation`). */
export interface CallServices extends Pick<Services, 'telemetry' | 'clock' | 'artifacts'> {
  readonly changes: Pick<Services['changes'], 'notify'>
  readonly options: Pick<KernelOptions, 'questionTtlMs'>
  readonly catalog: Pick<Services['catalog'], 'tools'>
  readonly cache: Cache
  /** `undefined`: no tool of this server runs as a task. */
  readonly tasks: TaskStarter<Pick<TaskView, 'id'>> | undefined
  /** `undefined`: nothing is limited. */
  readonly limits: Pick<Limits, 'takeModelTokens'> | undefined
  /** Around everything outside that handlers use. */
  readonly guards: Guards
}

/** What runs a handler: a request that is being served, or an attempt at a task. */
export interface Call {
  readonly services: CallServices
  readonly facts: Pick<InvocationFacts, 'method' | 'revision' | 'era' | 'client'>
  readonly principal: Principal
  /** Who is held to limits for what the handler does. */
  readonly caller: Limited
  /** Id in logs and errors. */
  readonly requestId: string
  readonly operation: Operation
  readonly signal: AbortSignal
  /** What it writes, and may read. */
  readonly artifacts: PlacedArtifacts
  /** Nobody waits for the outcome any more. */
  readonly isDone: boolean
  /** Takes the place of the handler's outcome when the handler is put aside. */
  onPutAside: ((outcome: Promise<Outcome>) => void) | undefined
  log(level: number, message: string, fields: Record<string, unknown> | undefined): void
  progress(done: number, total: number | undefined, message: string | undefined): void
  closeStream(retryMs: number): void
}
