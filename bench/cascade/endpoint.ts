/**
 * An endpoint of a language model that can be told to be slow, or dead. A process of its own: what it suffers is its own.
 * Commands come over IPC, and are acknowledged once they hold.
 */
import { createServer } from 'node:http'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'

/** How the endpoint behaves: answers soon, answers late, or refuses connections. */
export type Behaviour = 'healthy' | 'slow' | 'dead'

/** What an answer takes. */
const healthyMs = 30
const slowMs = 20_000

let behaviour: Behaviour = 'healthy'
let port = 0
let server: Server | undefined

function open(): Promise<void> {
  const opened = createServer((incoming, outgoing) => {
    incoming.resume()
    const timer = setTimeout(
      () => {
        outgoing.setHeader('content-type', 'application/json')
        outgoing.end('{"text":"an answer"}')
      },
      behaviour === 'slow' ? slowMs : healthyMs,
    )
    outgoing.once('close', () => clearTimeout(timer))
  })
  server = opened
  return new Promise((resolve, reject) => {
    opened.once('error', reject)
    opened.listen(port, '127.0.0.1', () => {
      port = (opened.address() as AddressInfo).port
      resolve()
    })
  })
}

async function behave(next: Behaviour): Promise<number> {
  behaviour = next
  if (next === 'dead' && server !== undefined) {
    const closed = server
    server = undefined
    await new Promise((resolve) => {
      closed.close(resolve)
      closed.closeAllConnections()
    })
  } else if (next !== 'dead' && server === undefined) await open()
  return port
}

process.on('message', (next: Behaviour) => {
  behave(next).then(
    (at) => process.send!({ port: at }),
    (error: unknown) => process.send!({ error: String(error) }),
  )
})
process.on('SIGINT', () => undefined)
process.on('disconnect', () => process.exit(0))
