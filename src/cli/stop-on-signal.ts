import type { Runtime } from '../compose/runtime-types.ts'

/**
 * SIGTERM and SIGINT end in order; a second one ends at once.
 * @param stuck resolves where the process should be started anew: it ends in order, with the exit code 1.
 */
export function stopOnSignal(runtime: Runtime, stuck: Promise<void>): Promise<void> {
  return new Promise((resolve, reject) => {
    let isStopping = false
    const stop = (): void => {
      if (isStopping) process.exit(1)
      isStopping = true
      runtime.close().then(resolve, reject)
    }
    void endWhenStuck(runtime, stuck)
    process.on('SIGTERM', stop)
    process.on('SIGINT', stop)
  })
}

/** What a stuck worker's handlers hold would keep the process alive. */
export async function endWhenStuck(runtime: Runtime, stuck: Promise<void>): Promise<void> {
  await stuck
  try {
    await runtime.close()
  } finally {
    process.exit(1)
  }
}
