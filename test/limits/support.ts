import { MemoryStateStore } from '../../src/backends/memory/state-store.ts'
import { ANONYMOUS, type Principal } from '../../src/define/context.ts'
import type { RequestLimit, ToolLimit } from '../../src/define/limits.ts'
import { createRuntime, type Runtime, type RuntimeOptions, type ServerDefinition } from '../../src/index.ts'
import type { Exchange } from '../../src/kernel/exchange.ts'
import { Limiter, type LimiterParts } from '../../src/limits/limiter.ts'
import type { StateStore, TokenBucket, TokensTaken } from '../../src/ports/state-store.ts'
import { FakeClock } from '../../src/testing/index.ts'

/** What a limiter told telemetry. */
export interface Told {
  counted: string[]
  failures: string[]
}

/** A telemetry that remembers what limits tell it. */
export function tellingTelemetry(): { telemetry: LimiterParts['telemetry']; told: Told } {
  const told: Told = { counted: [], failures: [] }
  const telemetry = {
    count: (counter: string, label: string) => void told.counted.push(`${counter} ${label}`),
    failure: (_operation: unknown, message: string) => void told.failures.push(message),
  } as unknown as LimiterParts['telemetry']
  return { telemetry, told }
}

/** A store whose commands for tokens are counted, may be made to fail or to wait, and are otherwise those of memory. */
export class StoreUnderTest extends MemoryStateStore {
  commands: { tag: string; buckets: readonly TokenBucket[] }[] = []
  isDown = false
  /** What each command waits for before it is carried out. */
  gate: Promise<void> | undefined

  override async takeTokens(tag: string, buckets: readonly TokenBucket[]): Promise<TokensTaken> {
    this.commands.push({ tag, buckets })
    await this.gate
    if (this.isDown) throw new Error('the store is down')
    return this.takeTokensNow(buckets)
  }
}

export const principal = (subject: string, tenant?: string): Principal => ({
  issuer: 'https://issuer.example',
  subject,
  ...(tenant === undefined ? {} : { tenant }),
  scopes: [],
})

/** As much of an exchange as a limiter looks at. */
export function exchangeOf(who: Principal | { address: string | undefined }): Exchange {
  const isPrincipal = 'issuer' in who
  return {
    principal: isPrincipal ? who : ANONYMOUS,
    address: isPrincipal ? '192.0.2.1' : who.address,
  } as Exchange
}

export interface LimiterUnderTest {
  limiter: Limiter
  told: Told
  clock: FakeClock
  /** A request of this caller; resolves to what it was refused with, or `undefined`. */
  request(who: Principal): Promise<Refused | undefined>
  call(who: Principal, args?: unknown): Promise<Refused | undefined>
}

export interface Refused {
  code: string
  limit: string
  retryAfterMs: number
}

/** A limiter of one node; its tool is named `tool`. */
export function limiterOf(options: {
  limits?: readonly RequestLimit[]
  tool?: readonly ToolLimit[]
  shared?: StateStore
  nodes?: number
  clock?: FakeClock
  override?: LimiterParts['override']
}): LimiterUnderTest {
  const clock = options.clock ?? new FakeClock()
  const { telemetry, told } = tellingTelemetry()
  const limiter = new Limiter({
    limits: options.limits ?? [],
    tools: [{ name: 'tool', ...(options.tool === undefined ? {} : { limits: options.tool }) }],
    override: options.override,
    local: new MemoryStateStore(clock),
    shared: options.shared,
    nodeCount: () => options.nodes ?? 1,
    clock,
    telemetry,
  })
  const outcome = async (run: () => undefined | Promise<void>): Promise<Refused | undefined> => {
    try {
      await run()
      return undefined
    } catch (error) {
      const { code, data } = error as { code: string; data: { limit: string; retryAfterMs: number } }
      if (data === undefined) throw error
      return { code, limit: data.limit, retryAfterMs: data.retryAfterMs }
    }
  }
  return {
    limiter,
    told,
    clock,
    request: (who) => outcome(() => limiter.chargeRequest(exchangeOf(who))),
    call: (who, args = {}) => outcome(() => limiter.chargeCall(exchangeOf(who), 'tool', args)),
  }
}

/** How many of `times` requests, one after the other, are let through. */
export async function passed(times: number, request: () => Promise<Refused | undefined>): Promise<number> {
  let count = 0
  for (let index = 0; index < times; index++) if ((await request()) === undefined) count++
  return count
}

/** A runtime that listens, and requests to it. */
export interface NodeUnderTest extends AsyncDisposable {
  runtime: Runtime
  url: string
  /** A request of 2026-07-28. */
  modern(method: string, params?: object, headers?: Record<string, string>): Promise<Answer>
  /** A POST of whatever it is. */
  post(body: unknown, headers?: Record<string, string>): Promise<Answer>
}

export interface Answer {
  status: number
  headers: Headers
  body: any
}

const JSON_HEADERS = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' }

/** Serves over HTTP on a free port. */
export async function nodeOf(server: ServerDefinition, options: RuntimeOptions = {}): Promise<NodeUnderTest> {
  const runtime = await createRuntime(server, { dataDir: false, logLevel: 'silent', ...options })
  const { url } = await runtime.listen({ port: 0 })
  const post: NodeUnderTest['post'] = async (body, headers = {}) => {
    const response = await fetch(url, {
      method: 'POST',
      headers: { ...JSON_HEADERS, ...headers },
      body: JSON.stringify(body),
    })
    const text = await response.text()
    return { status: response.status, headers: response.headers, body: text === '' ? undefined : JSON.parse(text) }
  }
  return {
    runtime,
    url,
    post,
    modern: (method, params = {}, headers = {}) =>
      post(
        {
          jsonrpc: '2.0',
          id: 1,
          method,
          params: {
            ...params,
            _meta: {
              'io.modelcontextprotocol/protocolVersion': '2026-07-28',
              'io.modelcontextprotocol/clientCapabilities': {},
            },
          },
        },
        {
          'mcp-protocol-version': '2026-07-28',
          'mcp-method': method,
          ...('name' in params ? { 'mcp-name': String(params.name) } : {}),
          ...headers,
        },
      ),
    [Symbol.asyncDispose]: () => runtime.close(),
  }
}
