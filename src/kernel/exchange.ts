import type { Client, Principal } from '../define/context.ts'
import type { LegacyRevision, RequestId } from './protocol.ts'

/** What the kernel needs of an HTTP request's headers. Absent on stdio and in memory, which have none. */
export interface RequestHead {
  /** `MCP-Protocol-Version`; like all headers without the white space around it. */
  readonly protocolVersion: string | undefined
  readonly mcpMethod: string | undefined
  readonly mcpName: string | undefined
  readonly sessionId: string | undefined
  readonly lastEventId: string | undefined
  readonly acceptsJson: boolean
  readonly acceptsStream: boolean
  /** Another header, by its lower-case name. */
  header(name: string): string | undefined
}

/** Either {@link respond} once, or {@link openStream}, {@link write}…, {@link end}. */
export interface Reply {
  /** Answers with one body (JSON), or with none (`undefined`). */
  respond(status: number, body: Body | undefined, headers?: Readonly<Record<string, string>>): void
  /** Turns the answer into a stream of messages. */
  openStream(): void
  /** Sends a notification on the stream. It may be dropped where the client reads too slowly. */
  write(message: string): void
  /** Sends a request of the server's on the stream; it is never dropped, since somebody waits for its answer. */
  writeRequest(message: string): void
  /** Sends what keeps proxies from cutting a quiet stream. */
  keepAlive(): void
  /** Ends the stream; the answer, where there is one, comes last and is never dropped. */
  end(answer?: string): void
  /** Ends without an answer, where none may follow (a cancelled request). */
  abandon(): void
  /** Ends the connection of a stream that the client can resume; what is written later waits for it. */
  pause?(retryMs: number): void
  /** The answer waits for a task: should this node die, another may go on with the waiting when the client resumes the stream. */
  shareWaiting?(call: WaitingCall): Promise<void>
  /** Leaves the waiting to another node, and has the client come back for it. `false`: that can't be done. */
  handOver?(): Promise<boolean>
}

/** A call that waits for a task, as another node has to know it to go on with the waiting. */
export interface WaitingCall {
  readonly task: string
  readonly rpcId: RequestId
  readonly tool: string
  readonly progressToken?: string | number
}

/** JSON text; or its parts in bytes, where most of it was ready before: to join half a megabyte would cost as much as to send it. */
export type Body = string | readonly Uint8Array[]

/** A body as text, for transports that send text. */
export function bodyText(body: Body): string {
  return typeof body === 'string' ? body : Buffer.concat(body).toString()
}

/** A connection that carries many messages (stdio, memory): where request ids are unique, and what the era of 2025 remembers. */
export interface Connection {
  readonly scope: string
  readonly transport: 'stdio' | 'memory'
  /** Sends a message that belongs to no request. It may be dropped where the client reads too slowly. */
  write(message: string): void
  /** Called when notifications had to be dropped, and there is room again. */
  readonly onDropped: Set<() => void>
  /** Set by the kernel when `initialize` was served. */
  session: LegacySession | undefined
}

/** What a 2025 session is to the methods that are served in it. */
export interface LegacySession {
  /** Id of the session in keys of the store; not the id that clients hold. */
  readonly sid: string
  readonly revision: LegacyRevision
  readonly client: Client
  /** Least severe level that the client wants, as an index of LOG_LEVELS. */
  readonly logLevel: number
  setLogLevel(level: number): Promise<void>
  subscribe(uri: string): Promise<void>
  unsubscribe(uri: string): Promise<void>
  /** The session's own connection has ended. Does nothing for a session that no connection holds. */
  close(): Promise<void>
}

/** What an answer tells of the limits that its request was held to. */
export interface RateLimitFields {
  /** Value of `RateLimit-Policy`. */
  readonly policy: string
  /** Value of `RateLimit`. */
  readonly current: string
}

/** One message from a client, and the way back to it. Transports implement it; the kernel answers through it. */
export interface Exchange extends Reply {
  readonly transport: 'http' | 'stdio' | 'memory'
  readonly head: RequestHead | undefined
  readonly connection: Connection | undefined
  /** Who sends it; known before the body is read. */
  readonly principal: Principal
  /** Version of HTTP, where the transport knows it. */
  readonly httpVersion?: string | undefined
  /** Address of the client, behind the proxies that are declared: for logs, traces, and the limits of anonymous callers. */
  readonly address: string | undefined
  /** Port of the client, where it is the peer. */
  readonly port: number | undefined
  openStream(headers?: Readonly<Record<string, string>>): void
  /** `eventId`: where the client can resume after this message. */
  write(message: string, eventId?: string): void
  /** For who writes much at once: resolves when the client has taken most of what waits for it, or has gone. */
  drained(): Promise<void> | undefined
  /** Sends an event without a message: says where to resume from, and after which time. */
  writeRetry(retryMs: number, eventId?: string): void
  /** Set by the limits; an answer over HTTP carries it, whatever it is. */
  rateLimit?: RateLimitFields | undefined
  /** Set by the kernel: one request was paid for before the body was read. */
  isPrepaid?: boolean
  /** Bytes of the message, once it is there; a batch's are shared out among its messages. */
  bodyBytes?: number
  /** Set by the kernel; the transport calls it once if the client goes away before the answer is complete. */
  onDisconnect: (() => void) | undefined
}
