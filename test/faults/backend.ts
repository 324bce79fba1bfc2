// A backend that can be broken: its server, the nodes that use it, and what is expected of them.
import type { RuntimeOptions } from '../../src/index.ts'
import type { Link, Toxiproxy } from '../servers/toxiproxy.ts'
import type { Expectations } from './cells.ts'

/** Every backend, as commands name it; in the order of the docs' table. */
export const BACKEND_NAMES = ['redis', 'postgres', 'dynamodb', 's3', 'rabbitmq', 'kafka', 'sqs'] as const
/** Name of a backend. */
export type BackendName = (typeof BACKEND_NAMES)[number]

/** One server, with the ways to it that faults break. */
export interface Stand {
  readonly links: readonly Link[]
  /** What nodes are given beside what all stands have: the URL that leads through a link. */
  readonly options: RuntimeOptions
}

/** See the file of each in `backends/`. */
export interface Backend extends Expectations {
  /** As the docs' table calls it. */
  readonly label: string
  /** How much slower than usual features are used, where the server of the test is no match for the real one. Default 1. */
  readonly pace?: number
  /** Starts the server, its way through the proxy, and what it must hold before nodes start. What is to be ended goes to the stack. */
  start(toxiproxy: Toxiproxy, stack: AsyncDisposableStack): Promise<Stand>
}
