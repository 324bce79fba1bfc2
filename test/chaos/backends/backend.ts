// A store or a broker of a run: real, of its own, and breakable.
import type { TaskAdmin, TaskStore } from '../../../src/ports/task-store.ts'
import type { Links } from './links.ts'

/** Something that can be done to a server; resolves when it is whole again. */
export type ServerFault = (lastingMs: number) => Promise<void>

/** A server that processes reach by a URL. */
export interface Backend extends AsyncDisposable {
  /** The URL under which a process reaches it. */
  urlFor(process: string): Promise<string>
  /** `undefined`: it is not reached over the network. */
  readonly links: Links | undefined
  /** What can be done to the server itself, by name. */
  readonly faults: Readonly<Record<string, ServerFault>>
}

/** The store of a run. */
export interface StoreBackend extends Backend {
  /** Opens it for the auditor: past every link. */
  open(): Promise<TaskStore & TaskAdmin>
  /** What lies in it, of each kind. */
  rest(): Promise<Record<string, number>>
}

/** The queue of a run. */
export interface QueueBackend extends Backend {
  /** Messages that wait in it. */
  rest(): Promise<Record<string, number>>
}

export const STORES = ['sqlite', 'postgres', 'dynamodb'] as const
export type StoreName = (typeof STORES)[number]
export const QUEUES = ['store', 'rabbitmq', 'kafka', 'sqs'] as const
export type QueueName = (typeof QUEUES)[number]

/** The task queue of every run. */
export const QUEUE = 'chaos'

/** AWS' clients send nothing without credentials; what runs on this machine takes any. Processes that are started have them too. */
export function useLocalCredentials(): void {
  process.env['AWS_ACCESS_KEY_ID'] ??= 'test'
  process.env['AWS_SECRET_ACCESS_KEY'] ??= 'test'
}
