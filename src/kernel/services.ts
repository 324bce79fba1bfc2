import type { Cache } from '../cache/cache.ts'
import type { Artifacts } from '../artifacts/artifacts.ts'
import type { Clock } from '../ports/clock.ts'
import type { EventBus } from '../ports/event-bus.ts'
import type { StateStore } from '../ports/state-store.ts'
import type { Telemetry } from '../ports/telemetry.ts'
import type { Guards } from '../resilience/guards.ts'
import type { ClientRequests } from '../sessions/client-requests.ts'
import type { NodeInbox } from '../sessions/node-inbox.ts'
import type { Admission, AdmissionOptions } from '../limits/admission.ts'
import type { Catalog } from './catalog.ts'
import type { ChangeHub } from './changes.ts'
import type { Invocation } from './invocation.ts'
import type { JsonBounds } from './json.ts'
import type { KeyRing } from './key-ring.ts'
import type { Limits } from './limits.ts'
import type { Challenges } from './scopes.ts'
import type { TaskEngine } from './task-engine.ts'
import type { Ticker } from './ticker.ts'

/** Bounds and times of the kernel. Defaults stand in `compose/options.ts`, and in the operations guide. */
export interface KernelOptions extends JsonBounds, AdmissionOptions {
  /** Messages of one batch (revision 2025-03-26). */
  maxBatch: number
  /** Open streams (`subscriptions/listen`, GET) of one caller. */
  maxStreamsPerPrincipal: number
  /** URIs that one session or `subscriptions/listen` may follow. */
  maxSubscriptions: number
  /** A call that has said nothing for so long becomes a stream, so that keep-alives can be sent. */
  quietMs: number
  /** Between two keep-alives of a quiet stream. */
  keepAliveMs: number
  /** How long a 2025 session id is good for after `initialize`. */
  sessionTtlMs: number
  /** How long a broken 2025 stream waits for its client to resume it. */
  resumeTtlMs: number
  /** How long the outcome of a call with an idempotency key is kept. */
  idempotencyTtlMs: number
  /** How long a question to a client is good for; the answer must come in that time. */
  questionTtlMs: number
  /** Bytes of an artifact that `resources/read` answers with, at most; a bigger one is downloaded. */
  maxArtifactReadBytes: number
  /** Serve clients whose headers and `_meta` disagree on the era; breaks a MUST. */
  lenientHeaders: boolean
  /** Serve 2025 requests that carry no session id, alone, without the client's capabilities. */
  sessions: 'required' | 'optional'
}

/** What the parts of the kernel share. */
export interface Services {
  readonly options: KernelOptions
  readonly catalog: Catalog
  readonly telemetry: Telemetry
  readonly clock: Clock
  readonly state: StateStore
  readonly bus: EventBus
  readonly keys: KeyRing
  /** Absent where nobody can authenticate. */
  readonly challenges: Challenges | undefined
  readonly ticker: Ticker
  readonly cache: Cache
  readonly changes: ChangeHub
  /** `undefined`: nothing is limited. */
  readonly limits: Limits | undefined
  /** What the node takes on. */
  readonly admission: Admission
  /** Requests that wait for a slot, or for their handlers. */
  readonly running: Set<Invocation>
  /** Running requests by connection or session and id, for `notifications/cancelled`. */
  readonly cancellable: Map<string, Invocation>
  readonly inbox: NodeInbox
  /** Requests to clients of 2025 sessions that wait for their answers. */
  readonly clientRequests: ClientRequests
  /** Open `subscriptions/listen` of connections that cancel by id (stdio). */
  readonly openListens: Map<string, () => void>
  /** `undefined`: no tool of this server runs as a task. */
  readonly tasks: TaskEngine | undefined
  /** `undefined`: no store is set that all nodes share. */
  readonly artifacts: Artifacts | undefined
  /** Around everything outside that handlers use. */
  readonly guards: Guards
  readonly nodeId: string
  nextRequestId(): string
}
