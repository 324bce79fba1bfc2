import { createHash } from 'node:crypto'

/** A Lua script, and the name by which a server that has seen it knows it. */
export interface Script {
  readonly text: string
  readonly sha: string
}

/** Names a script by its SHA-1, as `EVALSHA` wants it. */
export const script = (text: string): Script => ({ text, sha: createHash('sha1').update(text).digest('hex') })
