import type { ResolvedTrigger, TriggerMessage } from '../define/trigger.ts'
import { HoldfastError } from '../errors/holdfast-error.ts'
import { parseJson, type JsonBounds } from '../kernel/json.ts'
import type { JsonObject } from '../kernel/protocol.ts'
import type { MessageSource, SourceMessage } from '../ports/message-source.ts'
import type { QueueListener } from '../ports/task-queue.ts'
import { atMost, START_WAIT_MS } from './at-most.ts'
import { persistently } from './persistent.ts'
import { ScheduleRunner } from './schedule-runner.ts'
import { checkArguments, keyOf, refusalOf, type TriggerParts } from './trigger-call.ts'

const DEFAULT_CONCURRENCY = 10
const MAX_REASON = 500

/**
 * Runs the triggers of a server on a worker: makes a task of each message, and of each scheduled time.
 *
 * 1. A message is acknowledged after its task has been committed, never before. What dies in between has the message come again,
 *    and its id, which is the task's idempotency key, leads to the same task.
 * 2. A message that can't become a task is put aside with a reason; the next ones go on.
 * 3. A store that is away, or full, is waited for: the message stays unacknowledged and keeps its place among those under way, so
 *    that the broker keeps the rest.
 */
export class Triggers {
  readonly #parts: TriggerParts
  readonly #sources: MessageSource[] = []
  readonly #listeners: QueueListener[] = []
  readonly #schedules: ScheduleRunner[] = []
  readonly #underWay = new Set<Promise<unknown>>()
  readonly #stop = new AbortController()
  /** Triggers that wait for the store: told once. */
  readonly #waiting = new Set<string>()

  constructor(parts: TriggerParts) {
    this.#parts = parts
  }

  /**
   * Opens the sources. Brokers that are away may come back later.
   * @throws {HoldfastError} `invalid_option` for a URL that is missing or malformed, or a client library that is not installed.
   */
  async start(): Promise<void> {
    const opened: (() => Promise<QueueListener>)[] = []
    try {
      for (const trigger of this.#parts.triggers)
        if (typeof trigger.definition.from !== 'object') opened.push(await this.#open(trigger))
    } catch (error) {
      await this.close(0)
      throw error
    }
    for (const trigger of this.#parts.triggers)
      if (typeof trigger.definition.from === 'object')
        this.#schedules.push(new ScheduleRunner(trigger, trigger.definition.from, this.#parts, this.#stop.signal))
    const listening = opened.map(async (listen) => void this.#listeners.push(await listen()))
    // A source whose broker is away, or does not answer, comes to be read by itself.
    await atMost(this.#parts.clock, START_WAIT_MS, Promise.all(listening))
  }

  /** Takes no more messages; those under way have `deadlineMs` to become tasks, and what has not goes back to its broker. */
  async close(deadlineMs: number): Promise<void> {
    for (const listener of this.#listeners) listener.pause()
    this.#stop.abort(new HoldfastError('draining', 'The worker is stopping.'))
    const settled = new AbortController()
    const late = this.#parts.clock.sleep(deadlineMs, settled.signal).catch(() => undefined)
    await Promise.race([Promise.allSettled(this.#underWay), late])
    settled.abort()
    await Promise.all(this.#sources.map((source) => source.close()))
    await Promise.all(this.#schedules.map(({ ended }) => ended))
  }

  async #open(trigger: ResolvedTrigger): Promise<() => Promise<QueueListener>> {
    const { definition } = trigger
    const { name, from, concurrency = DEFAULT_CONCURRENCY } = definition
    const url = typeof from === 'function' ? from() : (from as string)
    if (typeof url !== 'string' || url === '')
      throw new HoldfastError(
        'invalid_option',
        `\`from\` of the trigger ${JSON.stringify(name)} gave no URL. Is the variable set that it reads?`,
      )
    const { openSource, telemetry } = this.#parts
    const source = await openSource(url, name, {
      onUp: () => telemetry.sourceChanged(name, undefined),
      onDown: (error) => telemetry.sourceChanged(name, error),
      onRefused: (error) => {
        if (!this.#stop.signal.aborted)
          telemetry.failure(undefined, `A message of the trigger ${name} comes again.`, error)
      },
    })
    this.#sources.push(source)
    return () =>
      source.listen(
        (message, signal) => {
          const done = this.#onMessage(trigger, message, AbortSignal.any([signal, this.#stop.signal]))
          this.#underWay.add(done)
          const end = (): void => void this.#underWay.delete(done)
          done.then(end, end)
          return done
        },
        { credits: concurrency },
      )
  }

  /** @returns why the message can't become a task, if it can't. */
  async #onMessage(trigger: ResolvedTrigger, message: SourceMessage, signal: AbortSignal): Promise<string | undefined> {
    const { clock, startTask, telemetry } = this.#parts
    const { name } = trigger.definition
    const call = await toCall(trigger, toTriggerMessage(message, this.#parts.bounds))
    const reason =
      'problem' in call
        ? call.problem
        : await persistently(
            clock,
            signal,
            () =>
              refusalOf(startTask(trigger.tool, call.args, { idempotencyKey: call.key, principal: trigger.principal })),
            (error) => this.#delayed(name, error),
          )
    if (reason === undefined) {
      this.#waiting.delete(name)
      telemetry.count('trigger_tasks', name)
      return undefined
    }
    telemetry.count('trigger_refusals', name)
    const text = reason.replaceAll(/[\u0000-\u001f\u007f]+/g, ' ').slice(0, MAX_REASON)
    const shownId = message.id === undefined ? 'without an id' : JSON.stringify(message.id)
    const error = new HoldfastError('trigger_message_refused', `The message ${shownId} of the trigger ${name}: ${text}`)
    telemetry.failure(undefined, 'A message was put aside.', error)
    return text
  }

  #delayed(name: string, error: unknown): void {
    const { telemetry } = this.#parts
    telemetry.count('trigger_retries', name)
    if (this.#waiting.has(name)) return
    this.#waiting.add(name)
    telemetry.failure(undefined, `The trigger ${name} can not start tasks now; it tries again.`, error)
  }
}

async function toCall(
  { definition, tool }: ResolvedTrigger,
  message: TriggerMessage,
): Promise<{ key: string; args: JsonObject } | { problem: string }> {
  const { name, id: toId, toArguments } = definition
  try {
    const id: unknown = toId === undefined ? message.id : toId(message)
    if (typeof id !== 'string' || id === '')
      return { problem: 'it has no id: have its sender set one, or give the trigger `id`' }
    const given = await (toArguments === undefined ? message.json() : toArguments(message as never))
    const checked = await checkArguments(tool, given, toArguments === undefined)
    return 'problem' in checked ? checked : { key: keyOf(name, id), args: checked.args }
  } catch (error) {
    return { problem: error instanceof Error ? error.message : String(error) }
  }
}

function toTriggerMessage({ id, body, headers }: SourceMessage, bounds: JsonBounds): TriggerMessage {
  return {
    id,
    body,
    headers,
    json: () => parseJson(Buffer.from(body.buffer, body.byteOffset, body.byteLength), bounds),
  }
}
