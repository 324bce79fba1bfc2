import { randomFillSync } from 'node:crypto'

/** Asking the system for a few bytes costs more than encrypting with them: so many are asked for at a time. */
const POOL_BYTES = 4096

const pool = Buffer.alloc(POOL_BYTES)
let used = POOL_BYTES

/** Random bytes for ids and nonces, `count` up to 64: each is handed out once, and forgotten here. */
export function takeRandom(count: number): Buffer {
  if (used + count > POOL_BYTES) {
    randomFillSync(pool)
    used = 0
  }
  const taken = Buffer.from(pool.subarray(used, used + count))
  pool.fill(0, used, used + count)
  used += count
  return taken
}
