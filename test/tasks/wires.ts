import { PassThrough } from 'node:stream'
import { internalsOf } from '../../src/compose/runtime.ts'
import type { Runtime } from '../../src/compose/runtime-types.ts'
import { stdioPrincipal } from '../../src/compose/auth.ts'
import { ANONYMOUS, type Principal } from '../../src/define/context.ts'
import { LineExchange } from '../../src/transports/stdio/stdio.ts'
import { DECLARES_TASKS, postTasks, readAnswer, withMeta, type Json } from '../support/tasks-client.ts'

/** A way to a server. */
export interface Wire {
  /** Who the server takes its client for. */
  readonly principal: Principal
  /** Sends a request of 2026-07-28; resolves to the JSON-RPC response, with the status where there is one. */
  ask(method: string, params?: Json, capabilities?: Json): Promise<Json & { status?: number }>
  /** Opens `subscriptions/listen`. */
  listen(notifications: Json, capabilities?: Json): Promise<Listening>
  /** As if the client had been too slow for some notifications, and has caught up. */
  drop?(): void
  close(): Promise<void>
}

/** An open `subscriptions/listen`, or the error that was answered instead. */
export interface Listening {
  /** Messages so far. */
  readonly messages: readonly Json[]
  /** Resolves when there are so many. */
  until(count: number): Promise<readonly Json[]>
  close(): void
}

class Inbox implements Listening {
  readonly messages: Json[] = []
  close: () => void = () => undefined
  #wake: (() => void) | undefined
  take(message: Json): void {
    this.messages.push(message)
    this.#wake?.()
  }
  async until(count: number): Promise<readonly Json[]> {
    while (this.messages.length < count) await new Promise<void>((resolve) => (this.#wake = resolve))
    return this.messages
  }
}

export const WIRES: Readonly<Record<'http' | 'stdio' | 'memory', (runtime: Runtime) => Promise<Wire>>> = {
  async http(runtime) {
    const { url } = await runtime.listen({ port: 0 })
    return overHttp(url)
  },
  async stdio(runtime) {
    const [input, output] = [new PassThrough(), new PassThrough()]
    const served = runtime.serveStdio({ input, output })
    let partial = ''
    const principal = await stdioPrincipal(undefined, undefined, [])
    const wire = onLines(principal, (line) => void input.write(`${line}\n`))
    output.setEncoding('utf8').on('data', (chunk: string) => {
      const lines = (partial + chunk).split('\n')
      partial = lines.pop()!
      for (const line of lines) wire.take(JSON.parse(line) as Json)
    })
    return {
      ...wire,
      async close() {
        input.end()
        await served
      },
    }
  },
  async memory(runtime) {
    const take = (text: string): void => wire.take(JSON.parse(text) as Json)
    const connection = {
      scope: 'wire',
      transport: 'memory' as const,
      write: take,
      onDropped: new Set<() => void>(),
      session: undefined,
    }
    const wire = onLines(ANONYMOUS, (line) =>
      internalsOf(runtime).kernel.receive(new LineExchange('memory', connection, ANONYMOUS, take), Buffer.from(line)),
    )
    return { ...wire, drop: () => connection.onDropped.forEach((tell) => tell()) }
  },
}

/** The wire of an HTTP endpoint. */
export function overHttp(url: string, headers: Json = {}): Wire {
  const open = new Set<AbortController>()
  return {
    principal: ANONYMOUS,
    async ask(method, params = {}, capabilities = DECLARES_TASKS) {
      const response = await postTasks(url, method, params, capabilities, headers)
      return { status: response.status, ...(await readAnswer(response)) }
    },
    async listen(notifications, capabilities = DECLARES_TASKS) {
      const away = new AbortController()
      open.add(away)
      const params = { notifications }
      const response = await postTasks(url, 'subscriptions/listen', params, capabilities, headers, away.signal)
      const inbox = new Inbox()
      inbox.close = () => away.abort()
      if (response.headers.get('content-type') !== 'text/event-stream')
        inbox.take({ status: response.status, ...(await readAnswer(response)) })
      else void readEvents(response, inbox)
      return inbox
    },
    async close() {
      for (const away of open) away.abort()
    },
  }
}

async function readEvents(response: Response, inbox: Inbox): Promise<void> {
  let text = ''
  try {
    for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
      const events = (text + chunk).split('\n\n')
      text = events.pop()!
      for (const event of events) {
        const data = /^data: (.+)$/m.exec(event)?.[1]
        if (data !== undefined) inbox.take(JSON.parse(data) as Json)
      }
    }
  } catch (error) {
    if ((error as Error).name !== 'AbortError') inbox.take({ broken: String(error) })
  }
}

const SUBSCRIPTION = 'io.modelcontextprotocol/subscriptionId'
let ids = 0

/** Messages of many requests on one channel. */
function onLines(principal: Principal, send: (line: string) => void): Wire & { take(message: Json): void } {
  const waiting = new Map<unknown, (message: Json) => void>()
  const listening = new Map<unknown, Inbox>()
  const post = (method: string, params: Json, capabilities: Json): string => {
    const id = `${++ids}`
    send(JSON.stringify({ jsonrpc: '2.0', id, method, params: withMeta(params, capabilities) }))
    return id
  }
  return {
    principal,
    take(message) {
      const id: unknown = message['id'] ?? message['params']?._meta?.[SUBSCRIPTION]
      listening.get(id)?.take(message)
      waiting.get(id)?.(message)
    },
    ask(method, params = {}, capabilities = DECLARES_TASKS) {
      return new Promise((resolve) => {
        // The answer may come before `send` returns.
        waiting.set(`${ids + 1}`, resolve)
        post(method, params, capabilities)
      })
    },
    async listen(notifications, capabilities = DECLARES_TASKS) {
      const inbox = new Inbox()
      const id = `${ids + 1}`
      listening.set(id, inbox)
      post('subscriptions/listen', { notifications }, capabilities)
      inbox.close = () =>
        send(
          JSON.stringify({
            jsonrpc: '2.0',
            method: 'notifications/cancelled',
            params: withMeta({ requestId: id }, {}),
          }),
        )
      return inbox
    },
    close: async () => undefined,
  }
}
