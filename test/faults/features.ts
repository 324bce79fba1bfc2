// What may depend on a backend, each with a way to use it as a client does.
import { randomUUID } from 'node:crypto'
import { initializeMessage, modernInit, open, openSession, post, postInit, send, type Reply } from '../clients/raw.ts'
import type { FaultNodes } from './nodes.ts'
import { OK, outcomeOf, textOf, type Outcome, type Use } from './outcome.ts'
import { bounded, call } from './calls.ts'
import { prepareNews } from './news.ts'
import { newTask, prepareTaskGet, runTask } from './tasks.ts'

/** See {@link FEATURES}. */
export interface Feature {
  /** As the docs' table calls it. */
  readonly label: string
  /** Between two uses, at whichever node. Default 300 ms. */
  readonly everyMs?: number
  /** Makes ready what its uses need, while all is well. */
  prepare(nodes: FaultNodes, stack: AsyncDisposableStack): Promise<Use> | Use
}

const simple =
  (name: string, args?: object): Feature['prepare'] =>
  ({ all }) =>
  async (node) =>
    outcomeOf(await call(all[node]!.url, name, args))

/** A call that asks for a color, and is answered. */
const asking =
  (name: string): Feature['prepare'] =>
  ({ all }) =>
  async (node) => {
    const options = { capabilities: { elicitation: { form: {} } } }
    const first = await call(all[node]!.url, name, {}, options)
    const { inputRequests, requestState } = first.message?.result ?? {}
    if (inputRequests === undefined) return outcomeOf(first, () => false)
    const [key] = Object.keys(inputRequests as object)
    const leg = { requestState, inputResponses: { [key!]: { action: 'accept', content: { color: 'blue' } } } }
    const second = await call(all[1 - node]!.url, name, {}, { ...options, leg })
    return outcomeOf(second, (result) => textOf(result) === 'blue')
  }

/** Opens a stream, and closes it. */
async function opened(url: string, init: Parameters<typeof open>[1]): Promise<Outcome> {
  await using stream = await open(url, init)
  if (stream.status === 200) return OK
  const text = await stream.text()
  return outcomeOf({ status: stream.status, text, message: JSON.parse(text) as NonNullable<Reply['message']> })
}

const session2025 = async (url: string): Promise<Outcome> => {
  const reply = await post(url, initializeMessage('2025-11-25'))
  if (reply.message?.result === undefined) return outcomeOf(reply)
  const headers = {
    'mcp-session-id': reply.headers.get('mcp-session-id') ?? undefined,
    'mcp-protocol-version': '2025-11-25',
  }
  const message = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'add', arguments: { a: 1, b: 2 } } }
  const called = await send(url, { ...postInit(message, headers), ...bounded() })
  return outcomeOf(called, (result) => textOf(result) === '3')
}

/** Every feature, in the order of the docs' table. */
export const FEATURES = {
  call: { label: 'calls that need no state', prepare: simple('add', { a: 1, b: 2 }) },
  ready: {
    label: '`/readyz` of a node that runs',
    prepare:
      ({ all }) =>
      async (node) => {
        const response = await fetch(`${all[node]!.origin}/readyz`, bounded())
        await response.arrayBuffer()
        return response.ok ? OK : { code: `status ${response.status}` }
      },
  },
  start: {
    label: 'a node that starts',
    everyMs: 1500,
    prepare: (nodes) => async () => {
      try {
        await using node = await nodes.start()
        const response = await fetch(`${node.origin}/readyz`, { ...bounded(), headers: { connection: 'close' } })
        await response.arrayBuffer()
        return response.ok ? OK : { code: 'not ready' }
      } catch (error) {
        // Whoever starts it may read where its servers are.
        return { code: String((error as { code?: unknown }).code) }
      }
    },
  },
  session: {
    label: 'opening a 2025 session, and calls in it',
    prepare:
      ({ all }) =>
      (node) =>
        session2025(all[node]!.url),
  },
  stream: {
    label: 'a 2025 call that streams',
    async prepare({ all }) {
      const sessions = await Promise.all(all.map(({ url }) => openSession(url)))
      return async (node) => {
        const reply = await sessions[node]!.request('tools/call', {
          name: 'count',
          arguments: {},
          _meta: { progressToken: 'p' },
        })
        const steps = reply.events?.filter(({ json }) => json?.method === 'notifications/progress').length
        return outcomeOf(reply, () => steps === 3)
      }
    },
  },
  key: {
    label: 'a call with an idempotency key',
    prepare:
      ({ all }) =>
      async (node) => {
        const meta = { 'dev.holdfast/idempotencyKey': randomUUID() }
        return outcomeOf(await call(all[node]!.url, 'token', {}, { meta }))
      },
  },
  ask: { label: 'a call that asks its client', prepare: asking('ask') },
  askAfterStep: { label: 'the same, after a step', prepare: asking('ask-after-step') },
  limited: { label: 'limits with `onStateLost: "local"`', prepare: simple('limited') },
  guarded: { label: 'limits with `onStateLost: "closed"`', prepare: simple('guarded') },
  listen: {
    label: 'opening `subscriptions/listen`, or a GET stream',
    everyMs: 500,
    async prepare({ all }) {
      const sessions = await Promise.all(all.map(({ url }) => openSession(url)))
      return async (node) => {
        const { url } = all[node]!
        const init = modernInit('subscriptions/listen', { notifications: { toolsListChanged: true } })
        const modern = await opened(url, { ...init, ...bounded() })
        const headers = { ...sessions[node]!.headers, accept: 'text/event-stream' }
        const legacy = await opened(url, { method: 'GET', headers, ...bounded() })
        return modern.code === legacy.code ? modern : { code: `${modern.code} and ${legacy.code}` }
      }
    },
  },
  news: { label: 'news to another node’s open streams', everyMs: 500, prepare: prepareNews },
  cached: {
    label: 'what is cached',
    async prepare({ all }) {
      const { message } = await call(all[0]!.url, 'cached')
      const value = textOf(message!.result!)
      const use: Use = async (node) =>
        outcomeOf(await call(all[node]!.url, 'cached'), (result) => textOf(result) === value)
      // The other node has it from the store.
      if ((await use(1)).code !== 'ok') throw new Error('The nodes do not share what they cache.')
      return use
    },
  },
  cachedByTag: { label: 'what is cached with tags', prepare: simple('cached-by-tag') },
  invalidate: { label: 'invalidating a tag', prepare: simple('invalidate') },
  taskStart: {
    label: 'starting a task',
    everyMs: 500,
    prepare:
      ({ all }) =>
      async (node) =>
        (await newTask(all[node]!.url)).outcome,
  },
  taskGet: { label: 'asking for a task', prepare: prepareTaskGet },
  task: {
    label: 'a task, from its start to its end',
    everyMs: 500,
    prepare:
      ({ all }) =>
      (node) =>
        runTask(all, node),
  },
  taskCall: {
    label: 'a call that waits for its task',
    everyMs: 500,
    prepare:
      ({ all }) =>
      async (node) =>
        outcomeOf(await call(all[node]!.url, 'work'), (result) => textOf(result) === 'came to 2'),
  },
  bigTask: {
    label: 'a task that records a big step',
    everyMs: 800,
    prepare:
      ({ all }) =>
      (node) =>
        runTask(all, node, 'big-work', 'made 307200'),
  },
  artifactPut: { label: 'writing an artifact', everyMs: 500, prepare: simple('write') },
  artifactGet: {
    label: 'reading an artifact',
    everyMs: 500,
    async prepare({ all }) {
      const { message } = await call(all[0]!.url, 'write')
      const [{ uri }] = message!.result!['content'] as [{ uri: string }]
      return async (node) =>
        outcomeOf(await send(all[node]!.url, { ...modernInit('resources/read', { uri }), ...bounded() }))
    },
  },
  bigResult: { label: 'a result too big for a message', everyMs: 500, prepare: simple('big') },
} satisfies Record<string, Feature>

/** Name of a feature. */
export type FeatureName = keyof typeof FEATURES
/** Their names, in the order of the docs' table. */
export const FEATURE_NAMES = Object.keys(FEATURES) as FeatureName[]
