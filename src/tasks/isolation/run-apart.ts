import { HoldfastError } from '../../errors/holdfast-error.ts'
import { afterAbort, type EndingAttempt } from '../attempt-end.ts'
import type { TaskRunParts } from '../task-run.ts'
import type { Attempt, AttemptOutcome } from '../worker.ts'
import type { IsolatedRun } from './isolate.ts'
import type { Isolates } from './isolates.ts'

/**
 * Runs an attempt in a thread or a process.
 * @throws where none can be started.
 */
export async function runApart(
  attempt: Attempt,
  { services, tool, caller, args, sealedTask, onProgress }: TaskRunParts,
  isolates: Isolates,
): Promise<AttemptOutcome> {
  const { telemetry, clock } = services
  const { task } = attempt
  const { requestId, revision, traceparent } = caller
  const operation = telemetry.startAttempt({
    requestId,
    tool: tool.name,
    taskId: task.id,
    attempt: task.attempts + task.crashes + 1,
    protocolVersion: revision,
    traceparent,
  })
  const ending: EndingAttempt = {
    task,
    owner: task.owner,
    tool,
    requestId,
    era: revision >= '2026-07-28' ? 'modern' : 'legacy',
    telemetry,
    operation,
  }
  const start: IsolatedRun['start'] = async (name, given) => {
    // Checked where the handler runs, by the same definition.
    const { id } = await services.tasks!.start({ ...given, tool: services.catalog.tools.get(name)! })
    return id
  }
  const limited = { principal: caller.principal, address: undefined, connection: undefined }
  const takeTokens: IsolatedRun['takeTokens'] = (tokens) =>
    services.limits?.takeModelTokens(limited, tool.name, () => tokens)
  const startedMs = clock.monotonic()
  const run = async (): Promise<AttemptOutcome> => {
    const end = await isolates.run(tool, {
      attempt,
      caller,
      args,
      operation,
      sealedTask: sealedTask(),
      onProgress,
      start,
      takeTokens,
    })
    if (end.kind === 'ended') return end.outcome
    const what = `The ${tool.task!.isolation} of the tool "${tool.name}"`
    if (end.kind === 'killed') {
      telemetry.failure(operation, `${what} was ended.`, end.reason)
      return afterAbort(ending, end.reason, true)
    }
    telemetry.failure(operation, `${what} has died.`, new HoldfastError('isolate_died', `It died, because ${end.why}.`))
    return { kind: 'crashed' }
  }
  let outcome: AttemptOutcome['kind'] | 'unstarted' = 'unstarted'
  try {
    const ended = await run()
    outcome = ended.kind
    return ended
  } finally {
    telemetry.endAttempt(operation, { outcome, durationSeconds: (clock.monotonic() - startedMs) / 1000 })
  }
}
