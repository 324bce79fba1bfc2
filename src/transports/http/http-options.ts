/** Bounds and names of the HTTP transport. Defaults stand in `compose/options.ts`. */
export interface HttpOptions {
  /** Path of the MCP endpoint. */
  path: string
  /** Host names (without port) that `Host` may name; `*` allows all. */
  allowedHosts: readonly string[]
  /** Origins that `Origin` may name (`https://app.example.com`); `*` allows all, `loopback` any port of this machine. */
  allowedOrigins: readonly string[]
  /** Bytes of a request body. */
  maxBodyBytes: number
  /** Time for a request body to arrive. */
  bodyTimeoutMs: number
  /** Bytes that may wait for a slow reader of a stream before it is cut. */
  maxBufferedBytes: number
}
