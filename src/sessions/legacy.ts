import { LOG_LEVELS, type Client } from '../define/context.ts'
import { quote } from '../define/names.ts'
import { HoldfastError } from '../errors/holdfast-error.ts'
import { dispatch } from '../kernel/dispatch.ts'
import type { Connection, Exchange, LegacySession, Reply } from '../kernel/exchange.ts'
import { CANCEL_CHANNEL } from '../kernel/keys.ts'
import { cancelKey, Invocation, type Outcome } from '../kernel/invocation.ts'
import { findResource, isOffered, refuseMethod, SHARED_METHODS, type Method } from '../kernel/methods.ts'
import { stringParam } from '../kernel/params.ts'
import {
  isLegacy,
  isObject,
  isModern,
  LATEST_LEGACY,
  META,
  type JsonObject,
  type LegacyRevision,
  type RequestId,
} from '../kernel/protocol.ts'
import { requireScopes } from '../kernel/scopes.ts'
import type { Services } from '../kernel/services.ts'
import { LocalSession } from './local-session.ts'
import type { SessionStore } from './session-store.ts'

const EMPTY: Outcome = { members: '' }
/** Everything but these two is the same in both eras. */
const METHODS: ReadonlyMap<string, Method> = new Map<string, Method>([
  ...SHARED_METHODS,
  ['ping', () => EMPTY],
  [
    'logging/setLevel',
    async ({ facts }) => {
      const level = stringParam(facts.params, 'level')
      const index = LOG_LEVELS.indexOf(level as never)
      if (index === -1)
        throw new HoldfastError('invalid_params', `\`params.level\` must be one of ${LOG_LEVELS.join(', ')}.`)
      await facts.session?.setLogLevel(index)
      return EMPTY
    },
  ],
  [
    'resources/subscribe',
    async (invocation) => {
      const { facts, services } = invocation
      const uri = stringParam(facts.params, 'uri')
      requireScopes(invocation, findResource(services.catalog, uri)?.resource ?? {}, `The resource ${quote(uri)}`)
      await facts.session?.subscribe(uri)
      return EMPTY
    },
  ],
  [
    'resources/unsubscribe',
    async ({ facts }) => {
      await facts.session?.unsubscribe(stringParam(facts.params, 'uri'))
      return EMPTY
    },
  ],
])

/** A request of the 2025 revisions, `initialize` excepted; `session` is `undefined` where it is served alone. */
export function serveLegacy(
  services: Services,
  exchange: Exchange,
  reply: Reply,
  session: LegacySession | undefined,
  revision: LegacyRevision,
  rpcId: RequestId,
  method: string,
  params: JsonObject,
): void {
  const invocation = new Invocation(services, exchange, reply, {
    rpcId,
    method,
    params,
    meta: isObject(params._meta) ? params._meta : {},
    revision,
    era: 'legacy',
    client: session?.client ?? { protocolVersion: revision, capabilities: {} },
    session,
    logLevel: session?.logLevel,
  })
  const served = METHODS.get(method)
  dispatch(invocation, served !== undefined && isOffered(method, invocation) ? served : refuseMethod)
}

/** `initialize`: agrees on a revision, and opens a session (over HTTP: its id is in the header `Mcp-Session-Id`). */
export function initialize(
  services: Services,
  exchange: Exchange,
  sessions: SessionStore,
  rpcId: RequestId,
  params: JsonObject,
): void {
  const asked = params.protocolVersion
  const revision = isLegacy(asked) ? asked : LATEST_LEGACY
  const info = isObject(params.clientInfo) ? params.clientInfo : {}
  const capabilities = isObject(params.capabilities) ? params.capabilities : {}
  const client: Client = { name: text(info.name), version: text(info.version), protocolVersion: revision, capabilities }
  const { connection } = exchange
  let reply: Reply = exchange
  let session: LegacySession
  if (connection === undefined) {
    const created = sessions.create(exchange.principal, revision, capabilities, client.name!, client.version!)
    if (typeof asked === 'string') reply = withHeader(exchange, 'mcp-session-id', created.id)
    session = created.session
  } else session = new LocalSession(services, connection, revision, client)
  const invocation = new Invocation(services, exchange, reply, {
    rpcId,
    method: 'initialize',
    params,
    meta: isObject(params._meta) ? params._meta : {},
    revision,
    era: 'legacy',
    client,
    session,
    logLevel: undefined,
  })
  dispatch(invocation, ({ services: { catalog } }) => {
    if (typeof asked !== 'string')
      throw new HoldfastError('invalid_params', '`params.protocolVersion` must be a string.')
    const result = {
      protocolVersion: revision,
      capabilities: catalog.capabilities(),
      serverInfo: catalog.serverInfo(revision),
      ...(catalog.server.instructions === undefined ? {} : { instructions: catalog.server.instructions }),
    }
    const outcome = { members: JSON.stringify(result).slice(1, -1) }
    return session instanceof LocalSession ? begin(session, connection!).then(() => outcome) : outcome
  })
}

/** Takes the place of the connection's session, if it had one. */
async function begin(session: LocalSession, connection: Connection): Promise<void> {
  await connection.session?.close()
  connection.session = session
  await session.start()
}

function withHeader(exchange: Exchange, name: string, value: string): Reply {
  return {
    respond: (status, body, headers) => exchange.respond(status, body, { ...headers, [name]: value }),
    openStream: () => exchange.openStream({ [name]: value }),
    write: (message) => exchange.write(message),
    writeRequest: (message) => exchange.writeRequest(message),
    keepAlive: () => exchange.keepAlive(),
    end: (answer) => exchange.end(answer),
    abandon: () => exchange.abandon(),
  }
}

const text = (value: unknown): string => (typeof value === 'string' ? value : '')

/** What clients may notify of; other names are made up, and must not become labels. */
const CLIENT_NOTIFICATIONS: ReadonlySet<string> = new Set([
  'notifications/initialized',
  'notifications/cancelled',
  'notifications/progress',
  'notifications/roots/list_changed',
])

/** A notification of a client, of either era. Those that ask for nothing are taken as read. */
export function receiveNotification(
  services: Services,
  exchange: Exchange,
  session: LegacySession | undefined,
  method: string,
  params: JsonObject,
): void {
  const { telemetry, clock } = services
  const meta = isObject(params._meta) ? params._meta : {}
  const claim = meta[META.protocolVersion]
  const operation = telemetry.start({
    requestId: services.nextRequestId(),
    method: CLIENT_NOTIFICATIONS.has(method) ? method : '_unknown',
    rpcId: undefined,
    protocolVersion: session?.revision ?? (isModern(claim) ? claim : LATEST_LEGACY),
    sessionId: session?.sid,
    transport: exchange.transport,
    httpVersion: exchange.httpVersion,
    address: exchange.address,
    port: exchange.port,
    traceparent: textOrNone(meta.traceparent),
    tracestate: textOrNone(meta.tracestate),
    baggage: textOrNone(meta.baggage),
  })
  const startedMs = clock.monotonic()
  // Over HTTP a 2026 client cancels by closing its stream; there its notification names nothing (MCP, cancellation).
  const scope = session?.sid ?? exchange.connection?.scope
  if (method === 'notifications/cancelled' && scope !== undefined) cancelRequest(services, scope, params)
  const durationSeconds = (clock.monotonic() - startedMs) / 1000
  telemetry.end(operation, {
    durationSeconds,
    httpStatus: 202,
    errorType: undefined,
    rpcCode: undefined,
    message: undefined,
  })
}

const textOrNone = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined)

/** `notifications/cancelled`: ends the request it names, here or, told over the bus, on the node that runs it. */
function cancelRequest(services: Services, scope: string, params: JsonObject): void {
  const id = params.requestId
  if (typeof id !== 'string' && typeof id !== 'number') return // nothing is named: a notification has no answer to say so
  const key = cancelKey(scope, id)
  const running = services.cancellable.get(key)
  if (running !== undefined) return running.abandon('cancelled')
  const stopListening = services.openListens.get(key)
  if (stopListening !== undefined) return stopListening()
  services.bus.publish(CANCEL_CHANNEL, Buffer.from(key)).catch(() => services.telemetry.count('degraded', 'cancel'))
}
