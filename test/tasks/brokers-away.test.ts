// Real brokers that are away while a worker starts: it runs tasks all the same, and hears bells and reads triggers once they are there.
import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, describe, expect, test, vi } from 'vitest'
import * as z from 'zod'
import { openKafkaQueue } from '../../src/backends/kafka/task-queue.ts'
import { openRabbitmqQueue } from '../../src/backends/rabbitmq/task-queue.ts'
import { openSqsQueue } from '../../src/backends/sqs/task-queue.ts'
import {
  createRuntime,
  defineServer,
  defineTool,
  defineTrigger,
  type Runtime,
  type TaskInfo,
  type TaskQueue,
} from '../../src/index.ts'
import { anything, withOptions } from '../contracts/queues.ts'
import { startKafka } from '../servers/kafka.ts'
import { needs, sharedServer } from '../servers/shared.ts'
import { until } from '../servers/tools.ts'
import { startToxiproxy, type Link } from '../servers/toxiproxy.ts'
import { kafkaSender, rabbitmqSender, sqsSender } from '../support/brokers.ts'

vi.setConfig({ testTimeout: 90_000, hookTimeout: 30_000 })
vi.stubEnv('AWS_ACCESS_KEY_ID', process.env['AWS_ACCESS_KEY_ID'] ?? 'test')
vi.stubEnv('AWS_SECRET_ACCESS_KEY', process.env['AWS_SECRET_ACCESS_KEY'] ?? 'test')
await needs('toxiproxy', 'kafka')
const toxiproxy = await startToxiproxy()
/** A Kafka of this file's own: it tells its clients where it is, which must be the proxy. */
let kafkaLink: Link | undefined
const kafka = await startKafka({
  advertised: async (address) => (kafkaLink ??= await toxiproxy.proxy('kafka', address)),
})
const servers = { rabbitmq: await sharedServer('rabbitmq'), kafka, sqs: await sharedServer('sqs') }
afterAll(async () => {
  await kafka[Symbol.asyncDispose]()
  await toxiproxy[Symbol.asyncDispose]()
})

const SHORT = { connectTimeoutMs: 1000, commandTimeoutMs: 1000 }
const withPath = (url: string, path: string): string => url.replace(/\/?(\?|$)/, `/${path}$1`)
const brokers = {
  RabbitMQ: {
    url: servers.rabbitmq.url,
    sender: () => rabbitmqSender(servers.rabbitmq),
    open: (url: string) =>
      openRabbitmqQueue(withOptions(url, { prefix: `t${randomUUID().slice(0, 8)}`, ...SHORT }), anything),
  },
  Kafka: {
    url: servers.kafka.url,
    sender: () => kafkaSender(servers.kafka),
    open: (url: string) =>
      openKafkaQueue(withOptions(withPath(url, `t${randomUUID().slice(0, 8)}`), { partitions: 1, ...SHORT }), anything),
  },
  SQS: {
    url: servers.sqs.url,
    sender: () => sqsSender(servers.sqs),
    open: (url: string) =>
      openSqsQueue(
        withOptions(url.replace('sqs://', `sqs://t${randomUUID().slice(0, 8)}`), { waitS: 2, ...SHORT }),
        anything,
      ),
  },
}

const job = defineTool({
  name: 'job',
  description: 'A job',
  input: z.object({ from: z.string() }),
  task: true,
  run: ({ from }) => from,
})

/** Where a URL leads, an endpoint among its options included. */
const addressOf = (url: string): { host: string; port: number } => {
  const { hostname: host, port } = new URL(new URL(url).searchParams.get('endpoint') ?? url)
  return { host, port: Number(port) }
}
const linkTo = async (url: string): Promise<Link> =>
  url === servers.kafka.url ? kafkaLink! : toxiproxy.proxy('away', addressOf(url))
/** The same URL through a link. */
const through = (url: string, link: Link): string =>
  url.replace(/127\.0\.0\.1(:|%3A)\d+/, (_all, colon: string) => `127.0.0.1${colon}${link.port}`)

/** The queue, and the ids that its bells have named. */
function heardOf(queue: TaskQueue): { queue: TaskQueue; heard: string[] } {
  const heard: string[] = []
  const listen: TaskQueue['listen'] = (queues, onRing, options) =>
    queue.listen(
      queues,
      (bell) => {
        heard.push(...bell.taskIds)
        return onRing(bell)
      },
      options,
    )
  return { queue: Object.assign(Object.create(queue) as TaskQueue, bound(queue), { listen }), heard }
}
/** Private members are not reached through a prototype. */
const bound = (queue: TaskQueue): Partial<TaskQueue> => ({
  ensureTopology: (queues) => queue.ensureTopology(queues),
  ring: (name, ids) => queue.ring(name, ids),
  depth: (name) => queue.depth(name),
  close: () => queue.close(),
})

const faults: Record<string, (link: Link) => Promise<void>> = {
  'refuses connections': (link) => link.disable(),
  'swallows everything': async (link) => {
    await link.add('timeout', { timeout: 0 })
    await link.add('timeout', { timeout: 0 }, { stream: 'upstream' })
  },
}

let closing: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close()
  closing = []
})

async function run(runtime: Runtime): Promise<string> {
  const { id } = await runtime.tasks.create('job', { from: 'code' })
  await until('The end of a task', 5000, async () => (await runtime.tasks.get(id))?.status === 'completed')
  return id
}

describe.each(Object.entries(brokers))('%s', (_name, { url, sender: createSender, open }) => {
  test.each(Object.entries(faults))('that %s as a worker starts', async (_fault, breaks) => {
    const sender = await createSender()
    const link = await linkTo(url)
    await breaks(link)
    const { queue, heard } = heardOf(await open(through(url, link)))
    closing.push(() => queue.close())
    const from = withOptions(through(sender.url, link), SHORT)
    const trigger = defineTrigger({ name: `t-${randomUUID()}`, tool: 'job', from: () => from })
    const server = defineServer({ name: 'jobs', version: '1.0.0', tools: [job], triggers: [trigger] })
    const options = { dataDir: false, logLevel: 'silent', queue, worker: { pollMs: 100 } } as const
    const startedMs = performance.now()
    const runtime = await createRuntime(server, options)
    closing.push(() => runtime.close())
    expect(performance.now() - startedMs, 'ms of the start').toBeLessThan(9000)
    const triggered: TaskInfo[] = []
    await runtime.tasks.subscribe(({ task }) => {
      if (task.status === 'completed' && JSON.stringify(task.result).includes('"trigger"')) triggered.push(task)
    })
    const unheard = await run(runtime)
    expect(heard).toEqual([])

    await link.clear()
    await sender.send([JSON.stringify({ from: 'trigger' })])
    const id = await vi.waitUntil(async () => (heard.includes(await run(runtime)) ? heard.at(-1) : undefined), {
      timeout: 45_000,
      interval: 100,
    })
    expect(id).not.toBe(unheard)
    await until('The task of a message', 45_000, async () => triggered.length > 0)
  })

  test('that swallows everything holds up no end', async () => {
    const link = await linkTo(url)
    closing.push(() => link.clear())
    const { queue, heard } = heardOf(await open(through(url, link)))
    const server = defineServer({ name: 'jobs', version: '1.0.0', tools: [job] })
    const options = { dataDir: false, logLevel: 'silent', queue, worker: { pollMs: 100 } } as const
    const runtime = await createRuntime(server, options)
    await vi.waitUntil(async () => heard.includes(await run(runtime)), { timeout: 30_000, interval: 100 })
    await faults['swallows everything']!(link)
    await run(runtime)
    const startedMs = performance.now()
    await runtime.close()
    await queue.close()
    expect(performance.now() - startedMs, 'ms of the end').toBeLessThan(6000)
  })
})
