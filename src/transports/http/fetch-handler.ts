import type { Artifacts } from '../../artifacts/artifacts.ts'
import { download } from '../../artifacts/download.ts'
import { WELL_KNOWN } from '../../auth/resource-metadata.ts'
import { ANONYMOUS, type Principal } from '../../define/context.ts'
import { HoldfastError } from '../../errors/holdfast-error.ts'
import { callerOf } from '../../kernel/caller.ts'
import { bodyText, type Body, type Exchange, type RateLimitFields } from '../../kernel/exchange.ts'
import { bodyTooLarge, bodyTooSlow, CHUNK_BYTES } from './body.ts'
import { linkIn, linkIsDead } from './download-route.ts'
import { corsHeaders, Gate, preflightHeaders } from './gate.ts'
import { HttpHead, isJson, rateLimitHeaders, SSE_HEADERS, SSE_KEEP_ALIVE, sseEvent, sseRetry } from './head.ts'
import type { HttpParts } from './node-handler.ts'

/** Serves MCP on a web-standard request, whatever its path: `export default { fetch }`, Hono, and their like. */
export type FetchHandler = (request: Request) => Promise<Response>

export function createFetchHandler(parts: HttpParts): FetchHandler {
  const { kernel, options, authenticator, metadata } = parts
  const gate = new Gate(options)
  return async (request) => {
    if (metadata !== undefined && request.url.includes(WELL_KNOWN) && metadata.isAt(new URL(request.url).pathname)) {
      const { status, headers, body } = metadata.answer(request.method)
      return new Response(body ?? null, { status, headers })
    }
    const exchange = new FetchExchange(request, parts, gate)
    try {
      const origin = request.headers.get('origin') ?? undefined
      gate.check(request.headers.get('host') ?? new URL(request.url).host, origin)
      const link =
        parts.artifacts !== undefined && request.url.includes('/artifacts/')
          ? linkIn(new URL(request.url).pathname, undefined)
          : undefined
      if (link !== undefined && (request.method === 'GET' || request.method === 'HEAD')) {
        await kernel.admit(exchange)
        return await downloadBy(parts.artifacts!, link, request, exchange.cors)
      }
      if (request.method === 'OPTIONS' && origin !== undefined)
        return new Response(null, {
          status: 204,
          headers: preflightHeaders(origin, request.headers.get('access-control-request-headers') ?? undefined),
        })
      if (authenticator !== undefined) exchange.principal = await authenticator.authenticate(exchange, request.url)
      // The caller is known, and the body is not read yet.
      if (request.method === 'POST') checkPost(request, exchange)
      await kernel.admit(exchange)
      if (request.method === 'POST') kernel.receive(exchange, await readBody(request, exchange))
      else if (request.method === 'GET') kernel.openStream(exchange)
      else if (request.method === 'DELETE') kernel.endSession(exchange)
      else throw new HoldfastError('method_not_allowed', `The method ${request.method} is not served here.`)
    } catch (error) {
      kernel.refuse(exchange, error, undefined)
    }
    return exchange.response
  }

  /** The link is the credential. */
  async function downloadBy(
    artifacts: Artifacts,
    link: string,
    request: Request,
    more: Readonly<Record<string, string>>,
  ): Promise<Response> {
    const header = (name: string): string | undefined => request.headers.get(name) ?? undefined
    const answer = await download(artifacts, { method: request.method, link, header })
    if (answer === undefined) throw linkIsDead()
    parts.telemetry.count('artifacts', 'downloaded')
    const { status, headers, body } = answer
    return new Response(body ?? null, { status, headers: { ...headers, ...more } })
  }

  function checkPost(request: Request, exchange: FetchExchange): void {
    const { head } = exchange
    if (!isJson(request.headers.get('content-type') ?? undefined))
      throw new HoldfastError('unsupported_media_type', 'Send the body as `Content-Type: application/json`.')
    if (!head.acceptsJson && !head.acceptsStream)
      throw new HoldfastError('not_acceptable', 'Accept application/json and text/event-stream.')
    const declared = request.headers.get('content-length')
    kernel.screen(exchange, declared === null ? undefined : Number(declared))
  }

  async function readBody(request: Request, exchange: FetchExchange): Promise<Buffer> {
    const { clock, ticker, admission } = parts
    const { maxBodyBytes, bodyTimeoutMs } = options
    if (Number(request.headers.get('content-length') ?? 0) > maxBodyBytes) throw bodyTooLarge(maxBodyBytes)
    if (request.bodyUsed)
      throw new HoldfastError(
        'internal_error',
        'Something read the body before this handler; give it the request untouched.',
      )
    if (request.body === null) return Buffer.alloc(0)
    const reader = request.body.getReader()
    const chunks: Uint8Array[] = []
    let length = 0
    let refusal: HoldfastError | undefined
    const refuse = (reason: HoldfastError): void => {
      refusal = reason
      reader.cancel().catch(() => undefined) // the read below ends either way
    }
    const sinceMs = clock.monotonic()
    const deadline = {
      tick(nowMs: number) {
        if (nowMs - sinceMs > bodyTimeoutMs) refuse(bodyTooSlow(bodyTimeoutMs))
      },
    }
    ticker.add(deadline)
    const pending = admission.pending.open(callerOf(exchange), () => refuse(admission.evicted()))
    try {
      for (;;) {
        const { done, value } = await reader.read().catch(() => {
          throw new HoldfastError('parse_error', 'The body broke off.')
        })
        if (refusal !== undefined) throw refusal
        if (done) return Buffer.concat(chunks, length)
        length += value.length
        if (length > maxBodyBytes) {
          reader.cancel().catch(() => undefined) // nobody reads the rest
          throw bodyTooLarge(maxBodyBytes)
        }
        pending.grow(value.length + CHUNK_BYTES)
        chunks.push(value)
      }
    } finally {
      ticker.delete(deadline)
      pending.release()
    }
  }
}

const encoder = new TextEncoder()

class FetchExchange implements Exchange {
  readonly transport = 'http'
  readonly connection = undefined
  /** Set by the handler once it is known. */
  principal: Principal = ANONYMOUS
  readonly address = undefined
  readonly port = undefined
  readonly head: HttpHead
  readonly response: Promise<Response>
  rateLimit: RateLimitFields | undefined
  isPrepaid = false
  #onDisconnect: (() => void) | undefined
  #isGone = false
  readonly #cors: Record<string, string>
  readonly #parts: HttpParts
  #resolve!: (response: Response) => void
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined
  #isAnswered = false
  #onPull: (() => void) | undefined

  constructor(request: Request, parts: HttpParts, gate: Gate) {
    this.head = new HttpHead((name) => request.headers.get(name) ?? undefined)
    const origin = request.headers.get('origin')
    this.#cors = origin !== null && gate.allowsOrigin(origin) ? corsHeaders(origin) : {}
    this.#parts = parts
    this.response = new Promise((resolve) => (this.#resolve = resolve))
    this.#isGone = request.signal.aborted
    request.signal.addEventListener('abort', () => this.#disconnect(), { once: true })
  }

  /** Headers that a browser on an allowed origin needs. */
  get cors(): Readonly<Record<string, string>> {
    return this.#cors
  }

  get onDisconnect(): (() => void) | undefined {
    return this.#onDisconnect
  }
  set onDisconnect(callback: (() => void) | undefined) {
    this.#onDisconnect = callback
    // The client may have gone while the kernel was still waiting for a store.
    if (this.#isGone && callback !== undefined) queueMicrotask(callback)
  }

  #disconnect(): void {
    if (this.#isGone || (this.#isAnswered && this.#controller === undefined)) return
    this.#isGone = true
    this.#controller = undefined
    this.#onPull?.()
    this.#onDisconnect?.()
  }

  respond(status: number, body: Body | undefined, headers?: Readonly<Record<string, string>>): void {
    if (this.#isAnswered) return
    this.#isAnswered = true
    const all: Record<string, string> = { ...this.#cors, ...rateLimitHeaders(this.rateLimit), ...headers }
    if (body !== undefined) all['content-type'] = 'application/json'
    this.#resolve(new Response(body === undefined ? null : bodyText(body), { status, headers: all }))
  }

  openStream(headers?: Readonly<Record<string, string>>): void {
    if (this.#isAnswered) return
    this.#isAnswered = true
    const stream = new ReadableStream<Uint8Array>(
      {
        start: (controller) => void (this.#controller = controller),
        pull: () => this.#onPull?.(),
        cancel: () => this.#disconnect(),
      },
      new ByteLengthQueuingStrategy({ highWaterMark: this.#parts.options.maxBufferedBytes }),
    )
    this.#resolve(
      new Response(stream, {
        status: 200,
        headers: { ...SSE_HEADERS, ...this.#cors, ...rateLimitHeaders(this.rateLimit), ...headers },
      }),
    )
  }

  writeRequest(message: string): void {
    this.write(message)
  }
  write(message: string, eventId?: string): void {
    this.#send(sseEvent(message, eventId))
  }
  writeRetry(retryMs: number, eventId?: string): void {
    this.#send(sseRetry(retryMs, eventId))
  }
  keepAlive(): void {
    this.#send(SSE_KEEP_ALIVE)
  }
  #send(text: string): void {
    const controller = this.#controller
    if (controller === undefined) return
    // What waited before counts: one message of any size must get through to a reader that reads.
    if ((controller.desiredSize ?? 0) >= 0) return controller.enqueue(encoder.encode(text))
    this.#parts.telemetry.count('slow_readers', 'fetch')
    controller.error(new Error('The reader of this stream is too slow.'))
    this.#disconnect()
  }
  drained(): Promise<void> | undefined {
    if (this.#controller === undefined || (this.#controller.desiredSize ?? 0) > 0) return undefined
    return new Promise((resolve) => {
      this.#onPull = () => {
        this.#onPull = undefined
        resolve()
      }
    })
  }

  abandon(): void {
    if (this.head.acceptsStream) this.openStream()
    else this.respond(202, undefined)
    this.end()
  }
  end(answer?: string): void {
    if (answer !== undefined) this.write(answer)
    this.#controller?.close()
    this.#controller = undefined
  }
}
