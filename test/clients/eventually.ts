import { expect } from 'vitest'

/** `expect.poll` with time for a busy machine: what is awaited comes at once, or is missing. */
export const eventually = (read: () => unknown) => expect.poll(read, { timeout: 10_000, interval: 20 })
