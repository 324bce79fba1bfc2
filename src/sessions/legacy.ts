import { LOG_LEVELS, type Client } from '../define/context.ts'
import { HoldfastError } from '../errors/holdfast-error.ts'
import { dispatch } from '../kernel/dispatch.ts'
import type { Exchange, LegacySession, Reply } from '../kernel/exchange.ts'
import { cancelKey, Invocation, type Outcome } from '../kernel/invocation.ts'
import { isOffered, refuseMethod, SHARED_METHODS, stringParam, type Method } from '../kernel/methods.ts'
import {
  isLegacy,
  isObject,
  LATEST_LEGACY,
  type JsonObject,
  type LegacyRevision,
  type RequestId,
} from '../kernel/protocol.ts'
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
    async ({ facts }) => {
      await facts.session?.subscribe(stringParam(facts.params, 'uri'))
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
  const method: Method = ({ services: { catalog } }) => {
    if (typeof asked !== 'string')
      throw new HoldfastError('invalid_params', '`params.protocolVersion` must be a string.')
    const result = {
      protocolVersion: revision,
      capabilities: catalog.capabilities(),
      serverInfo: catalog.serverInfo(revision),
      ...(catalog.server.instructions === undefined ? {} : { instructions: catalog.server.instructions }),
    }
    const outcome = { members: JSON.stringify(result).slice(1, -1) }
    if (connection === undefined) return outcome
    const session = new LocalSession(services, connection, revision, client)
    const before = connection.session
    connection.session = session
    return (async () => {
      if (before instanceof LocalSession) await before.close()
      await session.start()
      return outcome
    })()
  }
  if (connection === undefined && typeof asked === 'string') {
    const { id } = sessions.create(exchange.principal, revision, capabilities, client.name!, client.version!)
    reply = withHeader(exchange, 'mcp-session-id', id)
  }
  const invocation = new Invocation(services, exchange, reply, {
    rpcId,
    method: 'initialize',
    params,
    meta: isObject(params._meta) ? params._meta : {},
    revision,
    era: 'legacy',
    client,
    session: undefined,
    logLevel: undefined,
  })
  dispatch(invocation, method)
}

function withHeader(exchange: Exchange, name: string, value: string): Reply {
  return {
    respond: (status, body, headers) => exchange.respond(status, body, { ...headers, [name]: value }),
    openStream: () => exchange.openStream({ [name]: value }),
    write: (message) => exchange.write(message),
    keepAlive: () => exchange.keepAlive(),
    end: (answer) => exchange.end(answer),
    abandon: () => exchange.abandon(),
  }
}

const text = (value: unknown): string => (typeof value === 'string' ? value : '')

/** A notification of a client, in the session or on the connection `scope`. Those that ask for nothing are taken as read. */
export function receiveNotification(
  services: Services,
  scope: string | undefined,
  method: string,
  params: JsonObject,
): void {
  if (method === 'notifications/cancelled' && scope !== undefined) cancelRequest(services, scope, params)
}

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

/** Channel on which nodes look for a request to cancel. */
export const CANCEL_CHANNEL = 'cancel'
