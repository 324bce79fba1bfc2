import { request } from 'node:http'
import { modern, modernHeaders, type Json } from '../edges/support/messages.ts'

/** What came back for one call. */
export interface Answered {
  readonly status: number
  readonly headers: Readonly<Record<string, string | undefined>>
  readonly message: Json & { result?: Json; error?: { code: number; message: string; data: Json } }
}

/**
 * Posts a message over a connection of its own, as a caller of an address of its own: every 127.0.0.x is this machine.
 * Rejects with the signal's reason when it aborts.
 */
export function post(
  url: string,
  message: Json,
  { headers = modernHeaders(message), from = '127.0.0.1', signal }: PostOptions = {},
): Promise<Answered> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { method: 'POST', headers, localAddress: from, agent: false, ...(signal && { signal }) })
    sent.on('error', reject)
    sent.on('response', (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => (text += chunk))
      response.on('error', reject)
      response.on('end', () =>
        resolve({
          status: response.statusCode!,
          headers: response.headers as Answered['headers'],
          message: (text === '' ? {} : JSON.parse(text)) as Answered['message'],
        }),
      )
    })
    sent.end(JSON.stringify(message))
  })
}

interface PostOptions {
  readonly headers?: Readonly<Record<string, string>>
  readonly from?: string
  readonly signal?: AbortSignal
}

/** A `tools/call` of 2026-07-28. */
export function call(url: string, name: string, options: PostOptions & { args?: Json } = {}): Promise<Answered> {
  return post(url, modern('tools/call', { name, arguments: options.args ?? {} }), options)
}
