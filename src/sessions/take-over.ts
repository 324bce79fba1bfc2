import { waitForTask } from '../kernel/call-task.ts'
import { takeUp } from '../kernel/dispatch.ts'
import type { Exchange, WaitingCall } from '../kernel/exchange.ts'
import { Invocation } from '../kernel/invocation.ts'
import { streamKey } from '../kernel/keys.ts'
import type { Services } from '../kernel/services.ts'
import { LOG_BOUNDS, type ResumableStream } from './resumable-stream.ts'
import { SessionReply } from './session-reply.ts'
import type { StoredSession } from './session-store.ts'
import type { WaitingCalls } from './waiting-calls.ts'

/** This node runs the stream now. */
export const TAKEN_OVER = Symbol('taken over')
/** What became of an attempt to take a stream over; a text names the node that has it, `undefined`: the call is lost. */
export type TakenOver = typeof TAKEN_OVER | string | undefined

/** A stream that a client resumes. */
export interface Resumed {
  readonly exchange: Exchange
  readonly session: StoredSession
  readonly id: string
  /** Called when the stream has no use for the connection any more. */
  onDetach(): void
}

/**
 * Goes on with a stream whose node is gone, where its call waits for a task: the task runs on a worker, and has nothing to do with
 * that node. The client's connection becomes that of the stream.
 *
 * @param last last message of the stream that the client has.
 * @param gone the node.
 */
export async function takeOver(
  services: Services,
  waiting: WaitingCalls,
  { exchange, session, id, onDetach }: Resumed,
  last: number,
  gone: string,
  create: (last: number) => ResumableStream,
): Promise<TakenOver> {
  if (services.tasks === undefined) return undefined
  for (;;) {
    const found = await waiting.find(session.sid, id)
    if (found === undefined) return undefined
    if (found.runner !== gone && found.runner !== '') return found.runner
    const told = found.call.progressToken === undefined ? -Infinity : await lastProgress(services, session, id)
    const held = await waiting.take(session.sid, id, found.call, found)
    if (held === undefined) continue // another resumer was faster: look who
    const stream = create(last)
    stream.waiting = held
    stream.attach(exchange, last, onDetach)
    const host = { open: () => stream, share: async () => held, onDegraded: () => undefined }
    goOn(services, exchange, session, new SessionReply(exchange, host, stream), found.call, told)
    return TAKEN_OVER
  }
}

function goOn(
  services: Services,
  exchange: Exchange,
  session: StoredSession,
  reply: SessionReply,
  { rpcId, tool, progressToken, task }: WaitingCall,
  told: number,
): void {
  const invocation = new Invocation(services, exchange, reply, {
    rpcId,
    method: 'tools/call',
    params: { name: tool },
    meta: progressToken === undefined ? {} : { progressToken },
    revision: session.revision,
    era: 'legacy',
    client: session.client,
    session,
    logLevel: session.logLevel,
  })
  invocation.resume(told)
  takeUp(invocation, () => waitForTask(invocation, task))
}

/** What the client was told of the progress so far: it must not fall. */
async function lastProgress({ state }: Services, session: StoredSession, id: string): Promise<number> {
  const { entries } = await state.readAfter(streamKey(session.sid, id), 0, LOG_BOUNDS.maxEntries)
  let last = -Infinity
  for (const { value } of entries) {
    const message = JSON.parse(Buffer.from(value).toString()) as { method?: string; params?: { progress: number } }
    if (message.method === 'notifications/progress') last = message.params!.progress
  }
  return last
}
