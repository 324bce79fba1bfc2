// The server that the client tests talk to: one small thing for each feature that a client can use.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { content, definePrompt, defineResource, defineServer, defineTool, jsonSchema, toolError } from 'holdfast'
import * as z from 'zod'

const add = defineTool({
  name: 'add',
  title: 'Add',
  description: 'Adds two numbers',
  input: z.object({ a: z.number(), b: z.number() }),
  output: z.object({ sum: z.number() }),
  annotations: { readOnlyHint: true },
  run: ({ a, b }) => ({ sum: a + b }),
})

const echo = defineTool({
  name: 'echo',
  description: 'Returns what it was given',
  input: z.object({ text: z.string() }),
  offloadBytes: false, // whatever its length
  run: ({ text }) => text,
})

const media = defineTool({
  name: 'media',
  description: 'Returns a block of each kind',
  run: () => [
    content.text('text'),
    content.image(new Uint8Array([1, 2, 3]), 'image/png'),
    content.audio(new Uint8Array([4, 5, 6]), 'audio/wav'),
    content.resource('note://inline', 'inside', 'text/plain'),
    content.link('note://one', 'one', { mimeType: 'text/plain' }),
  ],
})

const refuse = defineTool({
  name: 'refuse',
  description: 'Fails with an error for the model',
  run() {
    throw toolError('There is no customer 42.')
  },
})

const crash = defineTool({
  name: 'crash',
  description: 'Fails with an error that must stay in the log',
  run() {
    throw new Error('connect ECONNREFUSED postgres://admin:hunter2@db')
  },
})

const routed = defineTool({
  name: 'routed',
  description: 'Returns an argument that clients repeat in a header',
  input: jsonSchema<{ region: string }>({
    type: 'object',
    properties: { region: { type: 'string', 'x-mcp-header': 'Region' } },
    required: ['region'],
  }),
  run: ({ region }) => region,
})

/** What calls tell each other stands in files, since the other call may be on another node: in this folder, if several share it. */
const shared = process.env['FIXTURE_DIR'] ?? process.cwd()
const fileOf = (kind: string, key: string): string => join(shared, `${kind}-${encodeURIComponent(key)}`)

const work = defineTool({
  name: 'work',
  description:
    'Reports progress three times; with `key` it returns when the client says by `seen` that it has them all',
  input: z.object({ key: z.string().optional() }),
  async run({ key }, { progress, signal }) {
    for (let step = 1; step <= 3; step++) {
      progress(step, 3, `step ${step}`)
      await sleep(5, undefined, { signal })
    }
    // Official clients drop a notification that is read together with the result.
    if (key !== undefined) while (!existsSync(fileOf('seen', key))) await sleep(5, undefined, { signal })
    return 'done'
  },
})

const confirmSeen = defineTool({
  name: 'seen',
  description: 'Lets a call of `work` return',
  input: z.object({ key: z.string() }),
  run: ({ key }) => writeFileSync(fileOf('seen', key), ''),
})

const chat = defineTool({
  name: 'chat',
  description: 'Logs at three levels',
  run(_args, { log }) {
    log.debug('a detail')
    log.info('a fact')
    log.warning('a worry', { threshold: 3 })
    return 'logged'
  },
})

const callKey = z.object({ key: z.string() })

const wait = defineTool({
  name: 'wait',
  description: 'Waits until it is cancelled; `progress: true` makes it report something first',
  input: callKey.extend({ progress: z.boolean().default(false) }),
  async run(args, { progress, signal }) {
    writeFileSync(fileOf('call', args.key), 'running')
    if (args.progress) progress(1)
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
    writeFileSync(fileOf('call', args.key), 'aborted')
    return 'never read'
  },
})

const state = defineTool({
  name: 'state',
  description: 'Says what became of a call of `wait`',
  input: callKey,
  run: ({ key }) => (existsSync(fileOf('call', key)) ? readFileSync(fileOf('call', key), 'utf8') : 'unknown'),
})

const touch = defineTool({
  name: 'touch',
  description: 'Announces a change of a resource',
  input: z.object({ uri: z.string() }),
  run({ uri }, { notify }) {
    notify.resourceUpdated(uri)
    return 'announced'
  },
})

const change = defineTool({
  name: 'change',
  description: 'Announces a change of each list',
  run(_args, { notify }) {
    notify.toolsChanged()
    notify.promptsChanged()
    notify.resourcesChanged()
    return 'announced'
  },
})

const whoami = defineTool({
  name: 'whoami',
  description: 'Returns what the server knows of the client',
  run: (_args, { client }) => ({ name: client.name, version: client.version, revision: client.protocolVersion }),
})

const cut = defineTool({
  name: 'cut',
  description: 'Closes its connection and answers on the stream that the client resumes',
  async run(_args, { closeStream, log, signal }) {
    log.warning('cutting')
    closeStream(10)
    await sleep(50, undefined, { signal })
    return 'after the cut'
  },
})

const notes: Readonly<Record<string, string>> = { one: 'first', two: 'second' }

const text = defineResource({
  uri: 'doc://guide',
  name: 'guide',
  title: 'The guide',
  description: 'Some text',
  mimeType: 'text/markdown',
  read: () => '# Guide',
})

const bytes = defineResource({
  uri: 'doc://logo',
  name: 'logo',
  mimeType: 'image/png',
  size: 3,
  read: () => new Uint8Array([7, 8, 9]),
})

const note = defineResource({
  uriTemplate: 'note://{id}',
  name: 'note',
  description: 'A note',
  mimeType: 'text/plain',
  list: () => Object.keys(notes).map((id) => ({ uri: `note://${id}`, name: id })),
  complete: { id: (typed) => Object.keys(notes).filter((id) => id.startsWith(typed)) },
  read: ({ id }) => notes[id],
})

const greet = definePrompt({
  name: 'greet',
  title: 'Greet',
  description: 'Greets somebody',
  arguments: z.object({ name: z.string().describe('Whom'), tone: z.string().optional() }),
  complete: {
    name: (typed) => ['Ada', 'Alan', 'Grace'].filter((name) => name.startsWith(typed)),
    tone: (typed, { arguments: chosen }) =>
      (chosen['name'] === 'Ada' ? ['warm', 'wry'] : ['cool']).filter((tone) => tone.startsWith(typed)),
  },
  get: ({ name, tone }) => ({
    description: `A greeting for ${name}`,
    messages: [{ role: 'user', content: content.text(`Greet ${name}${tone ? `, ${tone}` : ''}.`) }],
  }),
})

/** Its name can't stand in a header as it is, so that clients of 2026-07-28 must encode it. */
const unicode = definePrompt({ name: 'grüße', description: 'Grüßt', get: () => 'Grüß Gott.' })

const linked = definePrompt({
  name: 'linked',
  description: 'Points to a note',
  get: () => [{ role: 'user', content: content.link('note://one', 'one') }],
})

export default defineServer({
  name: 'fixture',
  version: '1.2.3',
  title: 'Fixture',
  instructions: 'For tests.',
  tools: [add, echo, media, refuse, crash, routed, work, confirmSeen, chat, wait, state, touch, change, whoami, cut],
  resources: [text, bytes, note],
  prompts: [greet, unicode, linked],
})
