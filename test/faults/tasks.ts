// Tasks, as a client that knows them follows them.
import { setTimeout as sleep } from 'node:timers/promises'
import { modernInit, send, type Reply } from '../clients/raw.ts'
import { DECLARES_TASKS } from '../support/tasks-client.ts'
import type { FaultNode, FaultNodes } from './nodes.ts'
import { bounded } from './calls.ts'
import { OK, outcomeOf, textOf, type Outcome, type Use } from './outcome.ts'

const POLL_MS = 200
/** An accepted task that has not ended by then is taken for lost. */
const END_MS = 45_000

function request(url: string, method: string, params: Record<string, unknown>): Promise<Reply> {
  const headers = typeof params['taskId'] === 'string' ? { 'mcp-name': params['taskId'] } : {}
  const init = modernInit(method, params, { meta: { clientCapabilities: DECLARES_TASKS }, headers })
  return send(url, { ...init, ...bounded() })
}

/** Starts a task; its id, where it was accepted. */
export async function newTask(url: string, tool = 'work'): Promise<{ outcome: Outcome; id?: string }> {
  const reply = await request(url, 'tools/call', { name: tool, arguments: {} })
  const outcome = outcomeOf(reply, ({ resultType }) => resultType === 'task')
  return outcome.code === 'ok' ? { outcome, id: reply.message!.result!['taskId'] as string } : { outcome }
}

const getTask = (url: string, taskId: string): Promise<Reply> => request(url, 'tasks/get', { taskId })

/** Starts a task, and follows it at the other node to its end. Errors that say `retryable` are met by another try. */
export async function runTask(
  all: readonly FaultNode[],
  node: number,
  tool = 'work',
  expected = 'came to 2',
): Promise<Outcome> {
  const { outcome, id } = await newTask(all[node]!.url, tool)
  if (id === undefined) return outcome
  const untilMs = performance.now() + END_MS
  while (performance.now() < untilMs) {
    const { message, status, text } = await getTask(all[1 - node]!.url, id)
    const task = message?.result
    if (task === undefined) {
      if (message?.error?.data?.['retryable'] !== true)
        return { code: 'not found again', text: JSON.stringify(message ?? { status, text }) }
    } else if (task['status'] === 'completed')
      return textOf(task['result'] as object) === expected ? OK : { code: 'wrong', text: JSON.stringify(task) }
    else if (task['status'] !== 'working') return { code: `ended ${task['status']}`, text: JSON.stringify(task) }
    await sleep(POLL_MS)
  }
  return { code: 'not ended', text: `The task ${id} had not ended after ${END_MS} ms.` }
}

/** Asks for a task that has ended. */
export async function prepareTaskGet({ all }: FaultNodes): Promise<Use> {
  const { id, outcome } = await newTask(all[0]!.url)
  if (id === undefined) throw new Error(`The task of the preparation was refused: ${JSON.stringify(outcome)}`)
  return async (node) => outcomeOf(await getTask(all[node]!.url, id), ({ taskId }) => taskId === id)
}
