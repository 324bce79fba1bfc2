// The least a Node program can do to answer a call over HTTP: the floor of every start-up time.
import { createServer } from 'node:http'

createServer((request, response) => {
  let body = ''
  request.setEncoding('utf8')
  request.on('data', (chunk) => {
    body += chunk
  })
  request.on('end', () => {
    const { id, params } = JSON.parse(body)
    const text = String(params.arguments.a + params.arguments.b)
    const answer = JSON.stringify({ jsonrpc: '2.0', id, result: { content: [{ type: 'text', text }] } })
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(answer) })
    response.end(answer)
  })
}).listen(Number(process.env.PORT), '127.0.0.1')
