import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'

/** Something outside, on a free port of this machine. */
export interface Outside extends AsyncDisposable {
  readonly url: string
  /** Open connections. */
  readonly sockets: ReadonlySet<Socket>
}

/** Starts a real server that answers as told. */
export async function outside(answer: RequestListener): Promise<Outside> {
  const server: Server = createServer(answer)
  const sockets = new Set<Socket>()
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    sockets,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
