import { once } from 'node:events'
import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { startRoundRobinProxy, type Target } from './round-robin-proxy.ts'

const servers: Server[] = []
async function upstream(listener: RequestListener): Promise<Target> {
  const server = createServer(listener).listen(0, '127.0.0.1')
  servers.push(server)
  await once(server, 'listening')
  return { host: '127.0.0.1', port: (server.address() as AddressInfo).port }
}
const closed = async (): Promise<Target> => {
  const target = await upstream(() => undefined)
  await once(servers.pop()!.close(), 'close')
  return target
}
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.close()
    server.closeAllConnections()
  }
})
const named = (name: string) => upstream((_request, response) => response.end(name))

test('each request goes to the next node, also on one connection', async () => {
  await using proxy = await startRoundRobinProxy([await named('a'), await named('b'), await named('c')])
  const answers: string[] = []
  for (let turn = 0; turn < 7; turn++) answers.push(await (await fetch(proxy.origin)).text())
  expect(answers.join('')).toBe('abcabca')
  expect(proxy.counts).toEqual([3, 2, 2])
})

test('method, path, headers and body arrive as they were sent, and the answer as it was given', async () => {
  const node = await upstream((request, response) => {
    request.setEncoding('utf8').on('data', (body) => {
      response.writeHead(418, { 'x-answer': 'yes' })
      response.end(
        `${request.method} ${request.url} ${String(request.headers['x-asked'])} ${request.headers.host} ${body}`,
      )
    })
  })
  await using proxy = await startRoundRobinProxy([node])
  const response = await fetch(`${proxy.origin}/mcp?a=1`, {
    method: 'POST',
    body: 'grüße',
    headers: { 'x-asked': 'this' },
  })
  expect(response.status).toBe(418)
  expect(response.headers.get('x-answer')).toBe('yes')
  expect(await response.text()).toBe(`POST /mcp?a=1 this ${new URL(proxy.origin).host} grüße`)
})

test('a stream is passed on event by event', async () => {
  let end = (): void => undefined
  const node = await upstream((_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n')
    end = () => void response.end('data: 2\n\n')
  })
  await using proxy = await startRoundRobinProxy([node])
  const reader = (await fetch(proxy.origin)).body!.pipeThrough(new TextDecoderStream()).getReader()
  expect((await reader.read()).value).toBe('data: 1\n\n')
  end()
  expect((await reader.read()).value).toBe('data: 2\n\n')
  expect((await reader.read()).done).toBe(true)
})

test('a node that refuses is passed over; where all refuse, the connection breaks', async () => {
  await using proxy = await startRoundRobinProxy([await closed(), await named('b'), await closed()])
  for (let turn = 0; turn < 4; turn++) expect(await (await fetch(proxy.origin)).text()).toBe('b')
  await using none = await startRoundRobinProxy([await closed()])
  await expect(fetch(none.origin)).rejects.toThrow('fetch failed')
})

test('a request that a node may have seen is not repeated', async () => {
  let seen = 0
  const node = await upstream((request) => {
    seen++
    request.socket.destroy()
  })
  await using proxy = await startRoundRobinProxy([node, node])
  await expect(fetch(proxy.origin)).rejects.toThrow('fetch failed')
  expect(seen).toBe(1)
})

test('a node learns that its client has left', async () => {
  const left = Promise.withResolvers<void>()
  const node = await upstream((_request, response) => {
    response.on('close', left.resolve)
    response.writeHead(200).write('a')
  })
  await using proxy = await startRoundRobinProxy([node])
  const client = new AbortController()
  await fetch(proxy.origin, { signal: client.signal })
  client.abort()
  await left.promise
})
