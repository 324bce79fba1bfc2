/** Entry of the processes that create jobs and run them; takes one command at a time over IPC. */
import { setTimeout as wait } from 'node:timers/promises'
import { nowMs } from './system.ts'
import type { Hooks, Place, Producer, TaskSystem } from './system.ts'

/** What such a process can be told to do; the first command opens it. An embedded worker's process does both. */
export type Command =
  | { kind: 'produce'; module: string; place: Place }
  /** `holdsJobs`: handlers never return. */
  | { kind: 'consume'; module: string; place: Place; holdsJobs: boolean }
  | { kind: 'closed-loop'; durationMs: number; callers: number }
  | { kind: 'open-loop'; perSecond: number; durationMs: number }
  | { kind: 'fill'; count: number }
  | { kind: 'entered' }
  | { kind: 'cpu' }
  | { kind: 'close' }

/** One creation; times by {@link nowMs}. */
export interface Creation {
  readonly key: string
  /** When it was to begin, whether or not it could. */
  readonly dueMs: number
  /** When the store had acknowledged it. */
  readonly committedMs: number
}

/** A handler that was entered, in a form that is short on its way. */
export type Entered = readonly [key: string, atMs: number]

const entered: Entered[] = []
let producer: Producer | undefined
const opened: { close(): Promise<void> }[] = []

async function run(command: Command): Promise<unknown> {
  switch (command.kind) {
    case 'produce': {
      const system = (await import(command.module)) as TaskSystem
      producer = await system.producer(command.place)
      opened.push(producer)
      break
    }
    case 'consume': {
      const system = (await import(command.module)) as TaskSystem
      const held = command.holdsJobs ? new Promise<void>(() => undefined) : undefined
      const hooks: Hooks = { entered: (key) => entered.push([key, nowMs()]), hold: () => held }
      opened.push(await system.consumer(command.place, hooks))
      break
    }
    case 'closed-loop':
      return closedLoop(command.durationMs, command.callers)
    case 'open-loop':
      return openLoop(command.perSecond, command.durationMs)
    case 'fill':
      return producer!.fill(Array.from({ length: command.count }, () => crypto.randomUUID()))
    case 'entered':
      return entered.splice(0)
    case 'cpu':
      return process.cpuUsage()
    case 'close':
      for (const one of opened.splice(0).reverse()) await one.close()
  }
  return undefined
}

async function create(dueMs: number): Promise<Creation> {
  const key = crypto.randomUUID()
  await producer!.create(key)
  return { key, dueMs, committedMs: nowMs() }
}

/** Jobs by so many callers, each of which waits for its last one to be acknowledged. */
async function closedLoop(durationMs: number, callers: number): Promise<number> {
  const endMs = nowMs() + durationMs
  let count = 0
  await Promise.all(
    Array.from({ length: callers }, async () => {
      while (nowMs() < endMs) {
        await create(nowMs())
        count++
      }
    }),
  )
  return count
}

/** Jobs at random times (Poisson), whether or not earlier ones have been acknowledged. */
async function openLoop(perSecond: number, durationMs: number): Promise<Creation[]> {
  const all: Promise<Creation>[] = []
  const startMs = nowMs()
  for (let dueMs = startMs; dueMs < startMs + durationMs; dueMs += (-Math.log(1 - Math.random()) * 1000) / perSecond) {
    const restMs = dueMs - nowMs()
    if (restMs > 0) await wait(restMs)
    all.push(create(dueMs))
  }
  return Promise.all(all)
}

process.on('message', (command: Command) => {
  run(command).then(
    (result) => process.send!({ result }),
    (error: Error) => process.send!({ error: error.stack ?? error.message }),
  )
})
// The terminal's Ctrl-C reaches the whole group; the parent decides when this process ends.
process.on('SIGINT', () => undefined)
process.on('disconnect', () => process.exit(0))
