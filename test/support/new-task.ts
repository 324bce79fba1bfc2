import { randomUUID } from 'node:crypto'
import type { NewTask } from '../../src/ports/task-store.ts'

/** A task to be stored, of which a test says what matters to it. */
export const newTask = (more: Partial<NewTask> = {}): NewTask => ({
  id: randomUUID(),
  owner: 'ann',
  tool: 'work',
  queue: 'q',
  maxAttempts: 3,
  maxCrashes: 3,
  failsWhenLost: false,
  ttlMs: undefined,
  retentionMs: 3_600_000,
  argsDigest: Buffer.from('digest'),
  args: Buffer.from('{}'),
  caller: Buffer.from('sealed'),
  ...more,
})
