/** Holdfast's tasks as a node and a worker have them: a tool that runs as a task, `runtime.tasks.create`, `runtime.startWorker`. */
import { systemClock } from '../../src/ports/clock.ts'
import { openTaskStore } from '../../src/compose/task-store.ts'
import { createRuntime, defineServer, defineTool } from '../../src/index.ts'
import type { Runtime } from '../../src/index.ts'
import * as z from 'zod'
import type { Consumer, Hooks, Place, Probe, Producer } from './system.ts'

const queueName = 'default'
/** Callers whose tasks these are: they take turns. */
const owners = 256
/** Both processes seal and open with it. */
const keys = `bench:${Buffer.alloc(32, 'bench').toString('base64')}`

/** Goes with a short lease: sweeps come as much sooner. */
const tunedPollMs = 1000

/** Filled in by the consumer. */
let hooks: Hooks | undefined
const noop = defineTool({
  name: 'noop',
  description: 'Does nothing',
  input: z.object({ key: z.string(), text: z.string() }),
  task: true,
  async run({ key, text }) {
    hooks?.entered(key)
    await hooks?.hold()
    return text
  },
})
const server = defineServer({ name: 'bench', version: '1.0.0', tools: [noop] })

let embedded: Promise<Runtime> | undefined

/** A runtime without a worker; an embedded worker and its node have one in common. */
function open({ url, queueUrl = 'store:', isEmbedded = false }: Place): Promise<Runtime> {
  const opening = (): Promise<Runtime> =>
    createRuntime(server, { tasks: url, queue: queueUrl, keys, worker: false, dataDir: false, logLevel: 'error' })
  return isEmbedded ? (embedded ??= opening()) : opening()
}

export async function prepare({ url }: Place): Promise<void> {
  const store = await openTaskStore(url, systemClock, { forMigration: true })
  await store.migrate()
  await store.close()
}

export async function probe({ url }: Place): Promise<Probe> {
  const store = await openTaskStore(url, systemClock)
  return {
    async unfinished() {
      const [backlog] = await store.backlog([queueName])
      return backlog === undefined ? 0 : backlog.ready + backlog.leased + backlog.parked
    },
    close: () => store.close(),
  }
}

export async function producer(place: Place): Promise<Producer> {
  const runtime = await open(place)
  const text = 'x'.repeat(place.payloadBytes)
  let count = 0
  const create = async (key: string): Promise<void> => {
    const principal = { issuer: 'bench', subject: `user-${count++ % owners}`, scopes: [] }
    await runtime.tasks.create(noop.name, { key, text }, { principal })
  }
  return {
    create,
    async fill(all) {
      await Promise.all(all.map(create))
    },
    close: () => runtime.close(),
  }
}

export async function consumer(place: Place, given: Hooks): Promise<Consumer> {
  hooks = given
  const runtime = await open(place)
  const { concurrency, leaseMs } = place
  await runtime.startWorker({ concurrency, ...(leaseMs === undefined ? {} : { leaseMs, pollMs: tunedPollMs }) })
  return { close: () => runtime.close() }
}
