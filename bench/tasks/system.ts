/** What is measured, in a form that is the same for Holdfast and its peers: somebody creates jobs, somebody else runs them. */

/** What a system needs to know of where it runs. Plain data: it goes to other processes. */
export interface Place {
  /** Of the store. */
  readonly url: string
  /** Of the broker, where there is one beside the store. */
  readonly queueUrl?: string
  /** Jobs that a consumer runs at once. */
  readonly concurrency: number
  /** The job's arguments and result, as text of this length. */
  readonly payloadBytes: number
  /** Whether jobs run in the process that creates them. */
  readonly isEmbedded?: boolean
  /** For takeovers: leases of this length; otherwise the system's default. */
  readonly leaseMs?: number
}

/** Told by a consumer. Keys are what the producer was given. */
export interface Hooks {
  /** The handler has been entered. */
  entered(key: string): void
  /** Resolves when the handler may return; at once, unless jobs are to be held. */
  hold(): Promise<void> | undefined
}

/** Creates jobs, one a call, as a node does for its clients. */
export interface Producer {
  /** Resolves when the store has acknowledged it. */
  create(key: string): Promise<void>
  /** Creates many at once, by whatever the system has for that. */
  fill(keys: readonly string[]): Promise<void>
  close(): Promise<void>
}

/** Runs jobs. */
export interface Consumer {
  close(): Promise<void>
}

/** Looks from outside. */
export interface Probe {
  /** Jobs whose end is not on record. */
  unfinished(): Promise<number>
  close(): Promise<void>
}

/** One of what is measured; `holdfast.ts` and each module under `peers/tasks/` exports these four. */
export interface TaskSystem {
  /** Makes tables, queues and topics. */
  prepare(place: Place): Promise<void>
  probe(place: Place): Promise<Probe>
  producer(place: Place): Promise<Producer>
  consumer(place: Place, hooks: Hooks): Promise<Consumer>
}

/** Milliseconds of the machine's monotonic clock, which all processes share. */
export const nowMs = (): number => Number(process.hrtime.bigint()) / 1e6
