import type { CacheEvent, Counter, ModelUse, TraceContext } from '../../ports/telemetry.ts'
import type { TaskCaller, TaskStart } from '../../kernel/task-engine.ts'
import type { TaskArguments } from '../payload.ts'
import type { PortableError } from '../../errors/portable-error.ts'
import type { AttemptOutcome, AttemptTask } from '../worker.ts'

/** What an isolate is started with. */
export interface IsolateSetup {
  /** URL of the module that exports the server by default. */
  readonly definition: string
  /** The one tool that it runs. */
  readonly tool: string
  /** Tools that the module must have too. */
  readonly expected: readonly string[]
  readonly questionTtlMs: number
  /** Of cached values in its memory. */
  readonly maxCacheBytes: number
  /** Store of artifacts; `undefined` where there is none, or none that can be reached from here. */
  readonly artifacts: { readonly url: string; readonly maxArtifactBytes: number } | undefined
}

/** What a worker tells an isolate. */
export type ToIsolate =
  /** The first message. */
  | { readonly kind: 'setup'; readonly setup: IsolateSetup }
  | {
      readonly kind: 'run'
      readonly task: AttemptTask
      readonly caller: TaskCaller
      readonly args: TaskArguments
      /** See {@link TaskRunParts}. */
      readonly sealedTask: string
      /** What it does belongs to this trace. */
      readonly trace: TraceContext | undefined
    }
  /** To `record`: what became of it; to `start`: the task's id. */
  | { readonly kind: 'answer'; readonly call: number; readonly value: string }
  | { readonly kind: 'refusal'; readonly call: number; readonly error: PortableError }
  | { readonly kind: 'abort'; readonly reason: PortableError }

/** What an isolate tells its worker. */
export type FromIsolate =
  | { readonly kind: 'ready' }
  | { readonly kind: 'failed'; readonly error: PortableError }
  | {
      readonly kind: 'record'
      readonly call: number
      readonly name: string
      readonly value: Uint8Array
      readonly artifacts: readonly string[]
    }
  | { readonly kind: 'start'; readonly call: number; readonly tool: string; readonly start: Omit<TaskStart, 'tool'> }
  | { readonly kind: 'report'; readonly statusMessage: string }
  | {
      readonly kind: 'progress'
      readonly done: number
      readonly total: number | undefined
      readonly message: string | undefined
    }
  | { readonly kind: 'log'; readonly level: string; readonly message: string; readonly fields: object | undefined }
  | { readonly kind: 'failure'; readonly message: string; readonly error: PortableError }
  | { readonly kind: 'cached'; readonly cache: string; readonly event: CacheEvent }
  | { readonly kind: 'count'; readonly counter: Counter; readonly label: string | undefined }
  | { readonly kind: 'model'; readonly use: ModelUse }
  /** Asks for tokens of models; the answer is what to settle them by, or empty where nothing limits them. */
  | { readonly kind: 'take_tokens'; readonly call: number; readonly tokens: number }
  | { readonly kind: 'settle_tokens'; readonly taken: string; readonly usedTokens: number }
  | {
      readonly kind: 'used'
      readonly dependency: string
      readonly outcome: string
      readonly durationSeconds: number
    }
  | { readonly kind: 'breaker'; readonly dependency: string; readonly state: 'closed' | 'open' | 'half_open' }
  /** It has opened the store of artifacts. */
  | { readonly kind: 'artifacts-used' }
  | { readonly kind: 'notify'; readonly what: 'tools' | 'prompts' | 'resources' }
  | { readonly kind: 'notify'; readonly what: 'resource'; readonly uri: string }
  | {
      readonly kind: 'ended'
      readonly outcome: AttemptOutcome
      /** Nothing of the attempt runs any more. */
      readonly isIdle: boolean
      readonly heapBytes: number
    }
