// The Redis protocol in the little that tests need to set servers up: no client library stands between.
import { connect, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'

/** What a server answers. */
export type Reply = string | number | null | Reply[]

/** Where a server is. */
export interface Address {
  readonly host: string
  readonly port: number
  /** PEM of the authority that signed the server's certificate: connect by TLS. */
  readonly ca?: string
}

const TIMEOUT_MS = 5000

/**
 * Sends one command on a connection of its own; resolves with the answer.
 * @throws Error where the server answers with an error, or does not answer within 5 s.
 */
export async function command(address: Address, ...args: (string | number)[]): Promise<Reply> {
  const socket =
    address.ca === undefined
      ? connect(address.port, address.host)
      : connectTls({ host: address.host, port: address.port, ca: address.ca })
  try {
    return await exchange(socket, args.map(String))
  } finally {
    socket.destroy()
  }
}

function exchange(socket: Socket, args: string[]): Promise<Reply> {
  return new Promise((resolve, reject) => {
    let buffer = Buffer.alloc(0)
    socket.setTimeout(TIMEOUT_MS, () => reject(new Error(`${args[0]} was not answered within ${TIMEOUT_MS} ms.`)))
    socket.on('error', reject)
    socket.on('close', () => reject(new Error(`The connection was closed before ${args[0]} was answered.`)))
    socket.on('data', (chunk: Buffer) => {
      buffer = Buffer.concat([buffer, chunk])
      const parsed = parse(buffer, 0)
      if (parsed === undefined) return
      if (parsed.value instanceof Error) reject(parsed.value)
      else resolve(parsed.value)
    })
    socket.write(`*${args.length}\r\n${args.map((arg) => `$${Buffer.byteLength(arg)}\r\n${arg}\r\n`).join('')}`)
  })
}

/** One reply from `at` on, and where it ends; `undefined` while it has not come whole. */
function parse(buffer: Buffer, at: number): { value: Reply | Error; end: number } | undefined {
  const lineEnd = buffer.indexOf('\r\n', at)
  if (lineEnd < 0) return undefined
  const type = String.fromCodePoint(buffer[at]!)
  const line = buffer.toString('utf8', at + 1, lineEnd)
  const end = lineEnd + 2
  if (type === '+') return { value: line, end }
  if (type === '-') return { value: new Error(line), end }
  if (type === ':') return { value: Number(line), end }
  const length = Number(line)
  if (length < 0) return { value: null, end }
  if (type === '$')
    return buffer.length < end + length + 2
      ? undefined
      : { value: buffer.toString('utf8', end, end + length), end: end + length + 2 }
  const items: Reply[] = []
  let next = end
  for (let index = 0; index < length; index++) {
    const item = parse(buffer, next)
    if (item === undefined) return undefined
    items.push(item.value instanceof Error ? item.value.message : item.value)
    next = item.end
  }
  return { value: items, end: next }
}
