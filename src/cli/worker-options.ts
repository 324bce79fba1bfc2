import { resolve } from 'node:path'
import type { WorkerOptions } from '../compose/worker-options.ts'

/** What a command knows of its worker, beside what is set: the module, and what to do where the worker is stuck. */
export function toWorkerOptions<Given extends boolean | WorkerOptions>(
  given: Given,
  definition: string,
  onStuck: () => void,
): WorkerOptions | Extract<Given, false> {
  if (given === false) return given as Extract<Given, false>
  const own: WorkerOptions = { definition: resolve(definition), onStuck }
  return typeof given === 'object' ? { ...own, ...given } : own
}
