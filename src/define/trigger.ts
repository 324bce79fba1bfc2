import type { Principal } from './context.ts'
import { checkFields, checkFunction, checkOptions, invalid, quote } from './names.ts'
import { compileSchedule, resolveCatchUp, type CompiledSchedule, type Schedule } from './schedule.ts'
import type { ToolDefinition } from './tool.ts'

/** A message of a queue or topic, as a trigger's functions see it. */
export interface TriggerMessage {
  /** The broker's id of it: AMQP `message-id`, SQS `MessageId`; of Kafka the topic's id, partition and offset. */
  readonly id: string | undefined
  readonly body: Uint8Array
  /** AMQP and Kafka headers, or SQS attributes, as texts. */
  readonly headers: Readonly<Record<string, string>>
  /** The body as JSON. @throws {HoldfastError} `parse_error` where it is none, and others where it is too deep or too long. */
  json(): unknown
}

/** What every trigger has. */
interface TriggerCommon {
  /** 1–64 of `A–Z a–z 0–9 _ -`, unique in the server. Part of what makes a task the message's own: keep it. */
  name: string
  /** Name of the tool whose task is started; it has `task`, and is one of the server's tools. */
  tool: string
  /**
   * Who the tasks belong to, and run as. Default: the issuer `trigger`, the trigger's name as subject, and the scopes that the
   * tool needs.
   */
  principal?: Principal
}

/** A trigger by messages. */
export interface MessageTriggerOptions extends TriggerCommon {
  /**
   * URL of a queue or topic: `amqp://host[/vhost]/queue`, `kafka://host,host/topic`, `sqs://queue?region=…`. A function is asked
   * when a worker starts; it keeps passwords out of the definition.
   */
  from: string | (() => string | undefined)
  /** The tool's arguments. What it throws makes the message a bad one. Default: the body, which is JSON. */
  toArguments?: (message: TriggerMessage) => unknown
  /** What two deliveries of one message have in common, and no two messages. Default: the broker's id. */
  id?: (message: TriggerMessage) => string
  /** Messages that one worker makes tasks of at once. Default 10. */
  concurrency?: number
}

/** A trigger by time. */
export interface ScheduleTriggerOptions extends TriggerCommon {
  from: Schedule
  /** The tool's arguments; equal for equal times. Default: none. */
  toArguments?: (time: { readonly scheduledMs: number }) => unknown
}

/** A trigger, ready to be given to {@link defineServer}. Nothing is opened before a worker starts. */
export interface TriggerDefinition {
  readonly kind: 'trigger'
  readonly name: string
  readonly tool: string
  readonly principal?: Principal
  readonly from: string | (() => string | undefined) | CompiledSchedule
  readonly toArguments?: (from: never) => unknown
  readonly id?: (message: TriggerMessage) => string
  readonly concurrency?: number
}

const OF_TIME = ['name', 'tool', 'principal', 'from', 'toArguments']
const OF_MESSAGES = [...OF_TIME, 'id', 'concurrency']
const OF_SCHEDULE = ['cron', 'timeZone', 'catchUpMs']

/**
 * Declares what starts a task of a tool without a caller: messages of RabbitMQ, Kafka or SQS, or a cron schedule. One task is made
 * of each message, and of each scheduled time, whatever number of workers run the trigger, and however often they are killed.
 *
 * @example
 * const orders = defineTrigger({ name: 'orders', tool: 'ingest', from: () => process.env.ORDERS_URL })
 * const nightly = defineTrigger({ name: 'nightly', tool: 'report', from: { cron: '0 6 * * *', timeZone: 'Europe/Tallinn' } })
 * @throws {HoldfastError} `invalid_definition`
 */
export function defineTrigger(options: MessageTriggerOptions): TriggerDefinition
export function defineTrigger(options: ScheduleTriggerOptions): TriggerDefinition
export function defineTrigger(options: MessageTriggerOptions | ScheduleTriggerOptions): TriggerDefinition {
  checkOptions('defineTrigger', options)
  const { name, tool, from, toArguments } = options
  if (typeof name !== 'string' || !/^[A-Za-z0-9_-]{1,64}$/.test(name))
    invalid(
      `defineTrigger(${quote(name)})`,
      'the name is not a usable one.',
      'Use 1 to 64 letters, digits, "_" and "-".',
    )
  const where = `defineTrigger("${name}")`
  const isSchedule = typeof from === 'object' && from !== null
  checkFields(where, options, isSchedule ? OF_TIME : OF_MESSAGES)
  if (typeof tool !== 'string')
    invalid(where, `\`tool\` is ${quote(tool)}.`, 'Give the name of one of the server’s tools.')
  if (toArguments !== undefined) checkFunction(where, 'toArguments', toArguments)
  checkPrincipal(where, options.principal)
  if (isSchedule) checkFields(`${where}, from`, from, OF_SCHEDULE)
  else checkMessages(where, options as MessageTriggerOptions)
  return Object.freeze({
    ...(options as Omit<MessageTriggerOptions, 'from'>),
    kind: 'trigger' as const,
    from: isSchedule ? compileSchedule(from, where) : from,
  })
}

function checkMessages(where: string, { from, id, concurrency }: MessageTriggerOptions): void {
  if (id !== undefined) checkFunction(where, 'id', id)
  if (concurrency !== undefined && !(Number.isSafeInteger(concurrency) && concurrency >= 1 && concurrency <= 1000))
    invalid(where, `\`concurrency\` is ${quote(concurrency)}.`, 'It must be a whole number from 1 to 1000.')
  if (typeof from === 'function') return
  if (typeof from !== 'string')
    invalid(where, `\`from\` is ${quote(from)}.`, 'Give a URL, a function that returns one, or { cron: "0 6 * * *" }.')
  if (/^[a-z]+:\/\/.*@/s.test(from))
    invalid(
      where,
      '`from` holds a user or a password.',
      'Read the URL from the environment when a worker starts: from: () => process.env.QUEUE_URL.',
    )
}

function checkPrincipal(where: string, principal: unknown): void {
  if (principal === undefined) return
  const { issuer, subject, tenant, scopes } = (principal ?? {}) as Partial<Principal>
  const isText = (value: unknown): boolean => typeof value === 'string' && value !== ''
  if (
    !isText(issuer) ||
    !isText(subject) ||
    issuer === 'anonymous' ||
    !(tenant === undefined || isText(tenant)) ||
    !Array.isArray(scopes)
  )
    invalid(where, '`principal` is not one.', 'Give { issuer, subject, scopes: [], tenant? }; it can’t be anonymous.')
}

/** A trigger and its tool, as a worker runs it. */
export interface ResolvedTrigger {
  readonly definition: TriggerDefinition
  readonly tool: ToolDefinition
  readonly principal: Principal
  /** Of a trigger by time. */
  readonly catchUpMs: number
}

/**
 * Finds a trigger's tool, and whether the two fit.
 * @throws {HoldfastError} `invalid_definition`
 */
export function resolveTrigger(definition: TriggerDefinition, tools: readonly ToolDefinition[]): ResolvedTrigger {
  const where = `defineTrigger("${definition.name}")`
  const tool = tools.find(({ name }) => name === definition.tool)
  if (tool === undefined)
    return invalid(
      where,
      `the server has no tool ${quote(definition.tool)}.`,
      `Its tools are ${tools.map(({ name }) => quote(name)).join(', ') || 'none'}.`,
    )
  if (tool.task === undefined)
    return invalid(where, `the tool ${quote(tool.name)} does not run as a task.`, 'Give the tool `task: true`.')
  if (tool.needs !== undefined && tool.needs.length > 0)
    invalid(where, `the tool ${quote(tool.name)} needs ${tool.needs.join(', ')}.`, 'A trigger has no client to ask.')
  const scopes = tool.scopes ?? []
  const principal = definition.principal ?? { issuer: 'trigger', subject: definition.name, scopes }
  const missing = scopes.find((scope) => !principal.scopes.includes(scope))
  if (missing !== undefined)
    invalid(where, `its principal lacks the scope ${quote(missing)}.`, `The tool ${quote(tool.name)} needs it.`)
  const { from } = definition
  const catchUpMs = typeof from === 'object' ? resolveCatchUp(from, tool.task.retentionMs, where) : 0
  return { definition, tool, principal, catchUpMs }
}
