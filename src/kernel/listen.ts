import type { Principal } from '../define/context.ts'
import { HoldfastError } from '../errors/holdfast-error.ts'
import { changeNotification, LIST_NAMES, tellAll, type Change, type ChangeListener, type ListName } from './changes.ts'
import { cancelKey, type Invocation } from './invocation.ts'
import { findResource } from './methods.ts'
import type { OpenStream, OpenStreams } from './open-streams.ts'
import { describe } from './params.ts'
import { isObject, META, type JsonObject } from './protocol.ts'
import { notificationBody, resultBody } from './rpc.ts'
import { mayUse } from './scopes.ts'
import type { Services } from './services.ts'
import type { StreamLimit } from './stream-limit.ts'
import { FollowedTasks } from './task-listen.ts'
import type { Ticking } from './ticker.ts'

/** What `subscriptions/listen` asks for, as far as this server has it. */
interface Filter {
  readonly asked: JsonObject
  readonly lists: ReadonlySet<ListName>
  readonly uris: ReadonlySet<string>
  readonly acknowledged: JsonObject
}

/** @throws {HoldfastError} `invalid_params` */
function readFilter(params: JsonObject, { catalog, options }: Services, principal: Principal): Filter {
  const asked = params.notifications
  if (!isObject(asked))
    throw new HoldfastError('invalid_params', `\`params.notifications\` must be an object; it is ${describe(asked)}.`)
  const capabilities = catalog.capabilities()
  const lists = new Set<ListName>()
  const acknowledged: JsonObject = {}
  for (const list of LIST_NAMES) {
    const flag = asked[`${list}ListChanged`]
    if (flag !== undefined && typeof flag !== 'boolean')
      throw new HoldfastError('invalid_params', `\`params.notifications.${list}ListChanged\` must be a boolean.`)
    if (flag === true && capabilities[list] !== undefined) {
      lists.add(list)
      acknowledged[`${list}ListChanged`] = true
    }
  }
  const uris = asked.resourceSubscriptions
  if (uris !== undefined && !(Array.isArray(uris) && uris.every((uri) => typeof uri === 'string')))
    throw new HoldfastError(
      'invalid_params',
      '`params.notifications.resourceSubscriptions` must be an array of strings.',
    )
  const mayFollow = (uri: string): boolean => mayUse(principal, findResource(catalog, uri)?.resource ?? {})
  const followed = new Set(capabilities.resources === undefined ? [] : ((uris ?? []) as string[]).filter(mayFollow))
  if (followed.size > options.maxSubscriptions)
    throw new HoldfastError(
      'invalid_params',
      `One stream may follow ${options.maxSubscriptions} resources; this one names ${followed.size}.`,
    )
  if (followed.size > 0) acknowledged.resourceSubscriptions = [...followed]
  return { asked, lists, uris: followed, acknowledged }
}

/**
 * `subscriptions/listen` (MCP 2026-07-28, subscriptions): acknowledges first, then sends what was asked for and nothing
 * else, each message with the subscription's id, until the client goes or the server stops.
 */
export async function listen(invocation: Invocation, streams: OpenStreams, limit: StreamLimit): Promise<Ended> {
  const { exchange, services } = invocation
  const { params, rpcId } = invocation.facts
  const filter = readFilter(params, services, exchange.principal)
  if (exchange.head?.acceptsStream === false)
    throw new HoldfastError('not_acceptable', '`subscriptions/listen` answers with text/event-stream: accept it.')
  const giveBack = limit.take(exchange)
  const meta = { [META.subscriptionId]: rpcId }
  let end!: (how: Ended) => void
  const ended = new Promise<Ended>((resolve) => (end = resolve))
  /** Changes before the acknowledgement, each once: a slow bus must not make them pile up. */
  const held = new Set<string>()
  let isAcknowledged = false
  let lastWriteMs = services.clock.monotonic()
  const write = (message: string): void => {
    lastWriteMs = services.clock.monotonic()
    exchange.write(message)
  }
  const listener: ChangeListener = {
    lists: filter.lists,
    uris: filter.uris,
    onChange(change: Change) {
      const { method, params: body } = changeNotification(change, meta)
      if (isAcknowledged) write(notificationBody(method, body))
      else held.add(notificationBody(method, body))
    },
  }
  let tasks: FollowedTasks | undefined
  const onDropped = (): void => {
    tellAll(listener)
    tasks?.resend()
  }
  const ticking: Ticking = {
    tick(nowMs) {
      tasks?.tick(nowMs)
      if (nowMs - lastWriteMs < services.options.keepAliveMs) return
      lastWriteMs = nowMs
      exchange.keepAlive()
    },
  }
  const stream: OpenStream = { shutdown: () => end('server') }
  exchange.onDisconnect = () => end('client')
  const cancelScope = exchange.connection?.scope
  const cancel =
    cancelScope === undefined ? undefined : { key: cancelKey(cancelScope, rpcId), end: () => end('client') }
  try {
    if (cancel !== undefined) services.openListens.set(cancel.key, cancel.end)
    tasks = await FollowedTasks.find(invocation, filter.asked.taskIds, write)
    await services.changes.add(listener)
    streams.add(stream)
    exchange.openStream()
    const taskIds = tasks?.ids ?? []
    const notifications = { ...filter.acknowledged, ...(taskIds.length === 0 ? {} : { taskIds }) }
    write(notificationBody('notifications/subscriptions/acknowledged', { notifications, _meta: meta }))
    isAcknowledged = true
    for (const message of held) write(message)
    tasks?.start()
    exchange.connection?.onDropped.add(onDropped)
    services.ticker.add(ticking)
    const how = await ended
    if (how === 'client') exchange.end()
    else {
      const result = { resultType: 'complete', _meta: { ...services.catalog.resultMetaObject, ...meta } }
      exchange.end(resultBody(rpcId, JSON.stringify(result)))
      // stdio has no stream to close, so its teardown says `cancelled` for this id (MCP 2026-07-28, cancellation). The
      // result goes first: clients that have it ignore the cancellation, those that don't take it as a loss.
      exchange.connection?.write(notificationBody('notifications/cancelled', { requestId: rpcId }))
    }
    return how
  } finally {
    if (cancel !== undefined) services.openListens.delete(cancel.key)
    streams.delete(stream)
    exchange.connection?.onDropped.delete(onDropped)
    services.ticker.delete(ticking)
    tasks?.close()
    giveBack()
    await services.changes.remove(listener)
  }
}

/** Who ended a stream. */
export type Ended = 'client' | 'server'
