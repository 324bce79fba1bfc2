import { quote } from '../define/names.ts'
import { HoldfastError } from '../errors/holdfast-error.ts'
import { LOG_LEVELS, type Client } from '../define/context.ts'
import { begin, charge, dispatch, toWireError } from './dispatch.ts'
import type { Exchange, RequestHead } from './exchange.ts'
import { decodeHeader } from './headers.ts'
import { Invocation } from './invocation.ts'
import { listen } from './listen.ts'
import type { OpenStreams } from './open-streams.ts'
import { DISCOVER, discover, isOffered, refuseMethod, SHARED_METHODS, type Method } from './methods.ts'
import { describe } from './params.ts'
import {
  isLegacy,
  isModern,
  isObject,
  LATEST_MODERN,
  META,
  MODERN,
  type JsonObject,
  type RequestId,
} from './protocol.ts'
import type { Services } from './services.ts'
import type { StreamLimit } from './stream-limit.ts'
import { TASK_METHODS } from './task-methods.ts'

const METHODS: ReadonlyMap<string, Method> = new Map([...SHARED_METHODS, ...TASK_METHODS, [DISCOVER, discover]])

/** Which parameter `Mcp-Name` mirrors (MCP 2026-07-28, streamable HTTP, "Standard headers"). */
const NAME_PARAMETER: ReadonlyMap<string, string> = new Map([
  ['tools/call', 'name'],
  ['prompts/get', 'name'],
  ['resources/read', 'uri'],
  // SEP-2663, "Streamable HTTP: Routing Headers"
  ['tasks/get', 'taskId'],
  ['tasks/update', 'taskId'],
  ['tasks/cancel', 'taskId'],
])

/** A request of revision 2026-07-28: everything it needs stands in the request itself. */
export function serveModern(
  services: Services,
  exchange: Exchange,
  streams: OpenStreams,
  limit: StreamLimit,
  rpcId: RequestId,
  method: string,
  params: JsonObject,
  meta: JsonObject,
): void {
  const { head } = exchange
  const claim = meta[META.protocolVersion] as string
  if (head !== undefined) checkVersionHeader(services, head, claim)
  if (!isModern(claim))
    throw new HoldfastError(
      'unsupported_protocol_version',
      `Revision ${quote(claim)} is not served without a session.`,
      {
        data: { supported: MODERN, requested: claim },
      },
    )
  const capabilities = meta[META.clientCapabilities]
  if (!isObject(capabilities))
    throw new HoldfastError(
      'invalid_meta',
      `\`params._meta["${META.clientCapabilities}"]\` must be an object; it is ${describe(capabilities)}.`,
    )
  if (head !== undefined) checkMirrors(services, head, method, params)
  const isListen = method === 'subscriptions/listen'
  const served = METHODS.get(method)
  const logLevel = readLogLevel(meta[META.logLevel])
  const isBadLevel = logLevel === undefined && meta[META.logLevel] !== undefined
  const invocation = new Invocation(services, exchange, exchange, {
    rpcId,
    method,
    params,
    meta,
    revision: LATEST_MODERN,
    era: 'modern',
    client: new ModernClient(meta, capabilities),
    session: undefined,
    logLevel,
  })
  if ((served === undefined && !isListen) || !isOffered(method, { services })) return dispatch(invocation, refuseMethod)
  if (isBadLevel) return dispatch(invocation, refuseLogLevel)
  if (!isListen) return dispatch(invocation, served!)
  // A listen stream is no call that waits: it is not counted as running, and writes its answer itself.
  begin(invocation)
  const open = async (): ReturnType<typeof listen> => {
    await charge(invocation)
    return listen(invocation, streams, limit)
  }
  open().then(
    (how) => invocation.settle(how === 'client' ? 'cancelled' : undefined),
    (error: unknown) => invocation.fail(toWireError(invocation, error)),
  )
}

class ModernClient implements Client {
  readonly protocolVersion = LATEST_MODERN
  readonly capabilities: JsonObject
  readonly #meta: JsonObject
  constructor(meta: JsonObject, capabilities: JsonObject) {
    this.#meta = meta
    this.capabilities = capabilities
  }
  get name(): string {
    return this.#info('name')
  }
  get version(): string {
    return this.#info('version')
  }
  #info(field: string): string {
    const info = this.#meta[META.clientInfo]
    const value = isObject(info) ? info[field] : undefined
    return typeof value === 'string' ? value : ''
  }
}

/** Index of the level, or `undefined` where none is asked for, or one that does not exist. */
function readLogLevel(level: unknown): number | undefined {
  const index = LOG_LEVELS.indexOf(level as never)
  return index === -1 ? undefined : index
}

function refuseLogLevel(): never {
  throw new HoldfastError(
    'invalid_params',
    `\`params._meta["${META.logLevel}"]\` must be one of ${LOG_LEVELS.join(', ')}.`,
  )
}

function checkVersionHeader({ options, telemetry }: Services, head: RequestHead, claim: string): void {
  const version = head.protocolVersion
  if (version === claim) return
  if (options.lenientHeaders && (version === undefined || isLegacy(version)))
    return telemetry.count('lenient', 'protocol_version')
  throw new HoldfastError(
    'header_mismatch',
    version === undefined
      ? `The header MCP-Protocol-Version is missing; it must be ${quote(claim)}, as in \`_meta\`.`
      : `The header MCP-Protocol-Version is ${quote(version)}, but \`_meta\` says ${quote(claim)}.`,
  )
}

function checkMirrors(services: Services, head: RequestHead, method: string, params: JsonObject): void {
  checkMirror(services, 'Mcp-Method', head.mcpMethod, method)
  const parameter = NAME_PARAMETER.get(method)
  if (parameter === undefined) return
  const expected = params[parameter]
  // A parameter of the wrong type is refused as such, by the method.
  if (typeof expected === 'string') checkMirror(services, 'Mcp-Name', head.mcpName, expected)
}

function checkMirror(
  { options, telemetry }: Services,
  name: string,
  value: string | undefined,
  expected: string,
): void {
  if (value === undefined) {
    if (options.lenientHeaders) return telemetry.count('lenient', name.toLowerCase())
    throw new HoldfastError('header_mismatch', `The header ${name} is missing; the body says ${quote(expected)}.`)
  }
  if (decodeHeader(value, name) !== expected)
    throw new HoldfastError(
      'header_mismatch',
      `The header ${name} says something other than the body (${quote(expected)}).`,
    )
}
