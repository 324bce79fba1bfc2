// A client of the tasks extension, as one owner, at one node.
import { DECLARES_TASKS, postTasks, readAnswer, type Json } from '../support/tasks-client.ts'
import type { Returned, Seen } from './check/operations.ts'
import type { Action } from './processes/plan.ts'

/** A node has so long to answer one request. */
const TIMEOUT_MS = 6000

/** What a client was told that it must not be told: a request that is refused for good. */
export class Refused extends Error {}

/** A way to the tasks of one owner. What rejects may have happened, unless it is {@link Refused}. */
export class TaskClient {
  readonly owner: string
  /** Name of the node. */
  readonly via: string
  readonly #url: string
  readonly #headers: Json

  constructor(owner: string, via: string, url: string, apiKey: string) {
    this.owner = owner
    this.via = via
    this.#url = url
    this.#headers = { authorization: `Bearer ${apiKey}` }
  }

  /** The same key gives the same task. */
  async create(plan: readonly Action[], idempotencyKey: string): Promise<string> {
    const params = { name: 'work', arguments: { plan }, _meta: { 'dev.holdfast/idempotencyKey': idempotencyKey } }
    const { resultType, taskId } = await this.#ask('tools/call', params)
    if (resultType !== 'task') throw new Refused(`the call became ${resultType}, and no task`)
    return taskId as string
  }

  /** What is told of a task, and the questions that are open. */
  async read(taskId: string): Promise<{ seen: Seen; asks: readonly string[] }> {
    const answer = await this.#send('tasks/get', { taskId })
    if (answer['error']?.code === -32602) return { seen: { state: 'missing' }, asks: [] }
    const { status: state, result, error, inputRequests } = resultOf(answer)
    if (state === 'completed') return { seen: { state, result: returnedBy(result as Json) }, asks: [] }
    if (state === 'failed') return { seen: { state, error }, asks: [] }
    return { seen: { state }, asks: Object.keys((inputRequests as Json | undefined) ?? {}) }
  }

  async answer(taskId: string, name: string, value: string): Promise<void> {
    await this.#ask('tasks/update', { taskId, inputResponses: { [name]: { action: 'accept', content: { value } } } })
  }

  async cancel(taskId: string): Promise<void> {
    await this.#ask('tasks/cancel', { taskId })
  }

  #send(method: string, params: Json): Promise<Json> {
    return postTasks(this.#url, method, params, DECLARES_TASKS, this.#headers, AbortSignal.timeout(TIMEOUT_MS)).then(
      readAnswer,
    )
  }
  async #ask(method: string, params: Json): Promise<Json> {
    return resultOf(await this.#send(method, params))
  }
}

function resultOf({ result, error }: Json): Json {
  if (result !== undefined) return result as Json
  if (error?.data?.retryable === true) throw new Error(`${error.code} ${error.message}`)
  throw new Refused(JSON.stringify(error))
}

/** What a handler returned; `undefined` where the result is another, such as an error for the model. */
function returnedBy({ content, isError }: Json): Returned | undefined {
  return isError === true ? undefined : (JSON.parse((content as Json[])[0]!['text'] as string) as Returned)
}
