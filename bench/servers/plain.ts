/**
 * The reference of every ratio: `node:http` and nothing else doing the same JSON work as a `tools/call` of `add`.
 * It reads the body, parses it, adds, and answers the bytes that revision 2026-07-28 demands. It checks nothing, so no
 * MCP server on `node:http` can honestly be faster. Of the usual ways to write it this was the cheapest: bytes joined
 * once rather than a decoder for each request, and headers as a flat array, save a tenth of the processor time.
 */
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'

interface Call {
  id: number | string
  method: string
  params: { arguments: { a: number; b: number } }
}

const serverInfo = { 'io.modelcontextprotocol/serverInfo': { name: 'bench', version: '1.0.0' } }
// The list that the other server answers, taken from it: the same bytes are sent.
const listFile = process.env['BENCH_LIST_RESULT']
const listResult = listFile === undefined ? Buffer.from('{}') : readFileSync(listFile)

const streamHeaders = { 'content-type': 'text/event-stream', 'cache-control': 'no-cache', 'x-accel-buffering': 'no' }
const streamOpened = `event: message\ndata: ${JSON.stringify({
  jsonrpc: '2.0',
  method: 'notifications/subscriptions/acknowledged',
  params: { notifications: { toolsListChanged: true }, _meta: { 'io.modelcontextprotocol/subscriptionId': 1 } },
})}\n\n`

function answer(body: string, response: ServerResponse): void {
  const call = JSON.parse(body) as Call
  if (call.method === 'subscriptions/listen') {
    openStream(response)
    return
  }
  if (call.method === 'tools/list') {
    sendList(call.id, response)
    return
  }
  const { a, b } = call.params.arguments
  const text = JSON.stringify({
    jsonrpc: '2.0',
    id: call.id,
    result: { resultType: 'complete', content: [{ type: 'text', text: String(a + b) }], _meta: serverInfo },
  })
  send(response, text)
}

function send(response: ServerResponse, text: string): void {
  response.writeHead(200, ['content-type', 'application/json', 'content-length', String(Buffer.byteLength(text))])
  response.end(text)
}

/** The list as ready bytes between a head and an end: three writes of one packet, and no copy. */
function sendList(id: number | string, response: ServerResponse): void {
  const head = `{"jsonrpc":"2.0","id":${JSON.stringify(id)},"result":`
  const length = Buffer.byteLength(head) + listResult.length + 1
  response.writeHead(200, ['content-type', 'application/json', 'content-length', String(length)])
  response.write(head)
  response.write(listResult)
  response.end('}')
}

/** A stand-alone event stream as plain Node holds one: head, first event, and a keep-alive comment every 15 s. */
function openStream(response: ServerResponse): void {
  response.writeHead(200, streamHeaders)
  response.write(streamOpened)
  const keepAlive = setInterval(() => response.write(': keep-alive\n\n'), 15_000)
  response.on('close', () => clearInterval(keepAlive))
}

function onRequest(request: IncomingMessage, response: ServerResponse): void {
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('end', () => {
    const body = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)
    answer(body.toString(), response)
  })
}

createServer(onRequest).listen(Number(process.env['PORT']), '127.0.0.1')
