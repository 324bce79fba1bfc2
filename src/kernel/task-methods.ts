import type { Need } from '../define/ask.ts'
import type { Client } from '../define/context.ts'
import { quote } from '../define/names.ts'
import { HoldfastError } from '../errors/holdfast-error.ts'
import type { Invocation, Outcome } from './invocation.ts'
import { describe, stringParam } from './params.ts'
import { isObject, TASKS_EXTENSION } from './protocol.ts'
import { checkNeeds, hasCapability, type ClientRequest } from './question.ts'
import { requireScopes } from './scopes.ts'
import { POLL_INTERVAL_MS, type TaskEngine, type TaskView } from './task-engine.ts'

/** What a task's owner asks of it (SEP-2663); of revision 2026-07-28 alone. */
export const TASK_METHODS: ReadonlyMap<string, (invocation: Invocation) => Promise<Outcome>> = new Map([
  ['tasks/get', getTask],
  ['tasks/update', updateTask],
  ['tasks/cancel', cancelTask],
])

/** Whether this very request declares the extension: what an earlier one declared does not count. */
export function declaresTasks({ capabilities, protocolVersion }: Client): boolean {
  const { extensions } = capabilities
  return protocolVersion >= '2026-07-28' && isObject(extensions) && isObject(extensions[TASKS_EXTENSION])
}

/** @throws {HoldfastError} `client_capability_missing` */
export function requireTasks(client: Client, what: string): void {
  if (declaresTasks(client)) return
  throw new HoldfastError(
    'client_capability_missing',
    `${what} needs a client that declares the extension ${quote(TASKS_EXTENSION)} with this request.`,
    { data: { requiredCapabilities: { extensions: { [TASKS_EXTENSION]: {} } } } },
  )
}

/** The answer to a call that has become a task (`CreateTaskResult`). The task must be readable on every node by now. */
export function createTaskOutcome(view: TaskView): Outcome {
  // It is also checked as a `CallToolResult` by some, whose `content` is required.
  return { members: `${toTaskFields(view)},"content":[]`, resultType: 'task' }
}

/** A task as JSON members, without what it came to: what is common to all states (SEP-2663, `Task`). */
export function toTaskFields(view: TaskView): string {
  // SEP-2663, "Task Execution Errors": a failed task SHOULD say why in words.
  const statusMessage = view.statusMessage ?? view.error?.message
  return JSON.stringify({
    taskId: view.id,
    status: view.status,
    ...(statusMessage === undefined ? {} : { statusMessage }),
    createdAt: new Date(view.createdMs).toISOString(),
    lastUpdatedAt: new Date(view.updatedMs).toISOString(),
    ttlMs: Math.max(1, Math.round(view.ttlMs)),
    pollIntervalMs: POLL_INTERVAL_MS,
  }).slice(1, -1)
}

/** A task as JSON members with what its state brings: open questions, the result, or the error (`DetailedTask`). */
export function toDetailedFields(view: TaskView): string {
  const fields = toTaskFields(view)
  switch (view.status) {
    case 'input_required':
      return `${fields},"inputRequests":${JSON.stringify(Object.fromEntries(view.requests))}`
    case 'completed':
      return `${fields},"result":${resultOf(view.result!)}`
    case 'failed':
      return `${fields},"error":${JSON.stringify(view.error)}`
    default:
      return fields
  }
}

/** What the call would have been answered with, had it been no task. */
function resultOf({ members, meta }: Outcome): string {
  const extra = meta === undefined ? '' : `,"_meta":${JSON.stringify(meta)}`
  return `{"resultType":"complete",${members.toString()}${extra}}`
}

/** Whether a client can be shown a task: it declares all that the open questions need. */
export function canBeAsked(client: Client, view: TaskView): boolean {
  return needsOf(view).every((need) => hasCapability(client, need))
}

function needsOf({ requests }: TaskView): Need[] {
  return [...requests.values()].map(needOf)
}

function needOf({ method, params }: ClientRequest): Need {
  if (method === 'roots/list') return 'roots'
  if (method === 'elicitation/create') return params.mode === 'url' ? 'elicitation.url' : 'elicitation'
  return params.tools === undefined && params.toolChoice === undefined ? 'sampling' : 'sampling.tools'
}

async function getTask(invocation: Invocation): Promise<Outcome> {
  const { engine, id } = begin(invocation)
  const view = await engine.get(id, invocation.principal)
  if (view === undefined) throw unknownTask(id)
  checkScopes(invocation, view)
  checkNeeds(invocation.facts.client, needsOf(view))
  return { members: toDetailedFields(view) }
}

async function updateTask(invocation: Invocation): Promise<Outcome> {
  const { engine, id } = begin(invocation)
  const { inputResponses } = invocation.facts.params
  if (!isObject(inputResponses))
    throw new HoldfastError(
      'invalid_params',
      `\`params.inputResponses\` must be an object of answers by key; it is ${describe(inputResponses)}.`,
    )
  await checkScopesFirst(invocation, engine, id)
  if (!(await engine.answer(id, invocation.principal, inputResponses))) throw unknownTask(id)
  return ACKNOWLEDGED
}

async function cancelTask(invocation: Invocation): Promise<Outcome> {
  const { engine, id } = begin(invocation)
  await checkScopesFirst(invocation, engine, id)
  if (!(await engine.cancel(id, invocation.principal))) throw unknownTask(id)
  return ACKNOWLEDGED
}

/** Carries nothing of the task: what has become of it is seen by `tasks/get`. */
const ACKNOWLEDGED: Outcome = { members: '' }

/** The extension is asked for before anything is looked up. */
function begin({ facts: { client, method, params }, services }: Invocation): { engine: TaskEngine; id: string } {
  requireTasks(client, method)
  return { engine: services.tasks!, id: stringParam(params, 'taskId') }
}

function unknownTask(id: string): HoldfastError {
  return new HoldfastError('task_not_found', `There is no task ${quote(id)} of yours, or it is not kept any more.`)
}

/** A narrower token of the same owner does not reach what a wider one began. */
function checkScopes(invocation: Invocation, { tool: name, id }: TaskView): void {
  const tool = invocation.services.catalog.tools.get(name)
  if (tool !== undefined) requireScopes(invocation, tool, `The task ${quote(id)} of the tool ${quote(name)}`)
}

async function checkScopesFirst(invocation: Invocation, engine: TaskEngine, id: string): Promise<void> {
  if (invocation.services.catalog.scopes.length === 0) return
  const view = await engine.get(id, invocation.principal)
  if (view === undefined) throw unknownTask(id)
  checkScopes(invocation, view)
}
