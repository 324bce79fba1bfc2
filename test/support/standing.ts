import type { WorkerParts } from '../../src/tasks/worker.ts'

/** Of a queue that has all that it needs. */
export const STANDING: WorkerParts['topology'] = { isStanding: true, stands: Promise.resolve() }
