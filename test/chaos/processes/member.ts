// A node or a worker of a run, in a process of its own: `member.ts '<settings>'`. It is the runtime that everybody uses; what it
// opens its tasks with is decorated by a hook of the module loader, so that nothing in the runtime knows of this.
import { flushCompileCache, registerHooks } from 'node:module'
import { systemClock, type Clock } from '../../../src/ports/clock.ts'
import { serveCommands } from './control.ts'
import { chaosServer } from './server.ts'
import { crash, history, holdings, settings } from './this-process.ts'

const DECORATED = new URL('./opened.ts', import.meta.url).href
registerHooks({
  resolve(specifier, context, next) {
    const isOurs = /\/src\/compose\/(tasks|worker)\.ts$/.test(context.parentURL ?? '')
    return isOurs && ['./task-store.ts', './task-queue.ts', './lease-keeper.ts'].includes(specifier)
      ? { url: DECORATED, shortCircuit: true }
      : next(specifier, context)
  },
})
const { createRuntime } = await import('../../../src/compose/runtime.ts')

const { role, leaseMs, hungAfterMs, concurrency, tasks, queue, state, keys, apiKeys, httpPort } = settings
let skewMs = 0
const clock: Clock = { ...systemClock, now: () => Date.now() + skewMs }
let isBlocked = false
watchLoop()

const runtime = await createRuntime(chaosServer(history, holdings, settings.retentionMs), {
  tasks,
  queue,
  state,
  keys,
  clock,
  dataDir: false,
  auth: { apiKeys: [...apiKeys] },
  logLevel: 'warn',
  worker: role === 'worker' ? { concurrency, leaseMs, hungAfterMs, pollMs: 500 } : false,
})
if (role === 'node') await runtime.listen({ port: httpPort })
// It will hardly end in a way that leaves time for that; the next one starts sooner.
flushCompileCache()
// Last: who answers here is ready.
await serveCommands(settings.controlPort, {
  arm: ({ point }) => crash.arm(point ?? undefined),
  skew: ({ ms }) => void (skewMs = ms),
  block({ ms }) {
    isBlocked = true
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
  },
})

/** Says so where the machine, and not the nemesis, held this process up. */
function watchLoop(): void {
  const EVERY_MS = 100
  let lastMs = performance.now()
  setInterval(() => {
    const lateMs = performance.now() - lastMs - EVERY_MS
    lastMs = performance.now()
    if (lateMs > leaseMs / 4 && !isBlocked) history.note('stall', { value: Math.round(lateMs) })
    isBlocked = false
  }, EVERY_MS)
}
