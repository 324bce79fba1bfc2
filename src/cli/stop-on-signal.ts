import type { Runtime } from '../compose/runtime.ts'

/** SIGTERM and SIGINT end in order; a second one ends at once. */
export function stopOnSignal(runtime: Runtime): Promise<void> {
  return new Promise((resolve, reject) => {
    let isStopping = false
    const stop = (): void => {
      if (isStopping) process.exit(1)
      isStopping = true
      runtime.close().then(resolve, reject)
    }
    process.on('SIGTERM', stop)
    process.on('SIGINT', stop)
  })
}
