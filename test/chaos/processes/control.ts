// How the nemesis reaches into a process: a port of its own.
import { createServer, type Server } from 'node:http'
import { once } from 'node:events'
import { json } from 'node:stream/consumers'
import type { CrashPoint } from './crash.ts'

/** What a process can be told. */
export interface Commands {
  /** Dies when it passes this point the next time; `null`: at none. */
  arm: { point: CrashPoint | null }
  /** Its event loop stands still for so long. */
  block: { ms: number }
  /** Its clock is set apart from the machine's by so much. */
  skew: { ms: number }
}

/** Serves commands; any request but a POST is answered: the process is up. */
export async function serveCommands(
  port: number,
  handlers: { readonly [Name in keyof Commands]: (command: Commands[Name]) => void },
): Promise<Server> {
  const server = createServer((request, response) => {
    if (request.method !== 'POST') {
      response.end()
      return
    }
    const name = request.url!.slice(1) as keyof Commands
    json(request).then(
      (command) => {
        response.end()
        // After the answer has left: a loop that stands still sends nothing.
        setTimeout(() => handlers[name](command as never), 5)
      },
      (error: Error) => response.writeHead(400).end(error.message),
    )
  }).listen(port, '127.0.0.1')
  await once(server, 'listening')
  return server
}

/** Tells a process something. @throws Error where it does not answer. */
export async function tell<Name extends keyof Commands>(
  port: number,
  name: Name,
  command: Commands[Name],
): Promise<void> {
  const response = await fetch(`http://127.0.0.1:${port}/${name}`, {
    method: 'POST',
    body: JSON.stringify(command),
    headers: { connection: 'close' },
    signal: AbortSignal.timeout(2000),
  })
  await response.arrayBuffer()
  if (!response.ok) throw new Error(`The process at port ${port} answered ${name} with ${response.status}.`)
}

/** Whether a process answers. */
export async function isUp(port: number): Promise<boolean> {
  const response = await fetch(`http://127.0.0.1:${port}/`, {
    headers: { connection: 'close' },
    signal: AbortSignal.timeout(2000),
  })
  await response.arrayBuffer()
  return response.ok
}
