import { sealTask } from '../artifacts/keys.ts'
import type { Services } from '../kernel/services.ts'
import { openCaller } from './caller.ts'
import type { StoredTaskEngine } from './engine.ts'
import { fromArguments, toError } from './payload.ts'
import type { Isolates } from './isolation/isolates.ts'
import { runApart } from './isolation/run-apart.ts'
import { TaskRun, type TaskRunParts } from './task-run.ts'
import type { Attempt, AttemptOutcome } from './worker.ts'

const RETRY_AFTER_MS = 5_000

/** Makes what a worker runs attempts with: the handlers of the server's tools. The returned function never rejects. */
export function createTaskRunner(
  services: Services,
  engine: Pick<StoredTaskEngine, 'progressed'>,
  isolates: Isolates,
): (attempt: Attempt) => Promise<AttemptOutcome> {
  return async (attempt) => {
    const { task } = attempt
    const tool = services.catalog.tools.get(task.tool)!
    try {
      const parts: TaskRunParts = {
        services,
        tool,
        caller: openCaller(services.keys, task.caller),
        args: fromArguments(task.args),
        sealedTask: () => sealTask(services.keys, task.id),
        onProgress: (done, total, message) => engine.progressed(task.id, done, total, message),
      }
      if (tool.task!.isolation !== undefined) return await runApart(attempt, parts, isolates)
      return await new TaskRun(attempt, parts).run()
    } catch (error) {
      // A key that is missing here may be there elsewhere, or with the next deploy; never does a task run as nobody.
      services.telemetry.failure(undefined, `The task ${task.id} could not be begun.`, error)
      if (task.attempts + 1 < task.maxAttempts) return { kind: 'retry', runAfterMs: RETRY_AFTER_MS }
      const message = 'The server could not begin the task.'
      return { kind: 'failed', dead: 'attempts', error: toError({ code: -32603, message }) }
    }
  }
}
