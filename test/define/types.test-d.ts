/* oxlint-disable typescript/no-unnecessary-type-parameters -- that is how types are compared */
// Types, held by the compiler alone (`tsc -p .`): nothing here runs. Each `@ts-expect-error` is a mistake that must not compile.
import { toStandardJsonSchema } from '@valibot/to-json-schema'
import { type } from 'arktype'
import type { RequestListener } from 'node:http'
import * as v from 'valibot'
import * as z from 'zod'
import {
  content,
  createRuntime,
  definePrompt,
  defineResource,
  defineServer,
  defineTool,
  defineTrigger,
  HoldfastError,
  jsonSchema,
  toolError,
  type Client,
  type ContentBlock,
  type Context,
  type ErrorCode,
  type Principal,
  type Runtime,
  type ServerDefinition,
  type ToolDefinition,
} from '../../src/index.ts'
import { connect } from '../../src/testing/index.ts'

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
/** Fails to compile unless its type is exactly `true`. */
function holds<T extends true>(): T | undefined {
  return undefined
}
/** The type of a value, flattened as editors show it. */
type Flat<T> = { [K in keyof T]: T[K] }

// —— Arguments ——————————————————————————————————————————————————————————————————————————————————————————————————————————

const named = { name: 'tool', description: 'A tool' } as const

defineTool({
  ...named,
  input: z.object({
    a: z.number(),
    b: z.number().default(1),
    c: z.string().optional(),
    at: z.iso.date().transform(Date.parse),
  }),
  run(args) {
    holds<Equal<Flat<typeof args>, { a: number; b: number; c?: string | undefined; at: number }>>()
    // @ts-expect-error there is no such argument
    void args.d
    return ''
  },
})
defineTool({
  ...named,
  input: type({ a: 'number', 'b?': 'string[]', n: 'string.numeric.parse' }),
  run(args) {
    holds<Equal<Flat<typeof args>, { a: number; b?: string[]; n: number }>>()
    return ''
  },
})
defineTool({
  ...named,
  input: toStandardJsonSchema(v.object({ a: v.number(), b: v.optional(v.picklist(['x', 'y']), 'x') })),
  run(args) {
    holds<Equal<Flat<typeof args>, { a: number; b: 'x' | 'y' }>>()
    return ''
  },
})
defineTool({
  ...named,
  input: jsonSchema<{ city: string }>({ type: 'object', properties: { city: { type: 'string' } } }),
  run(args) {
    holds<Equal<Flat<typeof args>, { city: string }>>()
    return ''
  },
})
defineTool({
  ...named,
  input: { type: 'object', properties: { a: { type: 'number' } } },
  run(args) {
    holds<Equal<typeof args, Record<string, unknown>>>()
    return String(args.a)
  },
})
defineTool({
  ...named,
  run(args) {
    holds<Equal<typeof args, Record<string, never>>>()
    return ''
  },
})
// A schema from elsewhere: its type is known, its value is not.
const shared: z.ZodObject<{ id: z.ZodString }> = z.object({ id: z.string() })
defineTool({ ...named, input: shared, run: ({ id }) => id.toUpperCase() })
// A discriminated union is one in the handler too.
defineTool({
  ...named,
  input: z.object({
    shape: z.discriminatedUnion('kind', [
      z.object({ kind: z.literal('circle'), radius: z.number() }),
      z.object({ kind: z.literal('square'), side: z.number() }),
    ]),
  }),
  run: ({ shape }) => (shape.kind === 'circle' ? shape.radius : shape.side),
})
// @ts-expect-error a schema is an object
defineTool({ ...named, input: 'string', run: () => '' })
// @ts-expect-error Valibot's schemas say themselves as JSON Schema only when they are wrapped
defineTool({ ...named, input: v.object({ a: v.string() }), run: ({ a }: { a: string }) => a })
// @ts-expect-error a tool needs a description
defineTool({ name: 'tool', run: () => '' })
// @ts-expect-error and a name
defineTool({ description: 'A tool', run: () => '' })
// @ts-expect-error and a handler
defineTool({ ...named })
// @ts-expect-error a misspelt field
defineTool({ ...named, inputs: z.object({}), run: () => '' })
// @ts-expect-error a misspelt hint
defineTool({ ...named, annotations: { readonlyHint: true }, run: () => '' })
// @ts-expect-error a hint is true or false
defineTool({ ...named, annotations: { readOnlyHint: 'yes' }, run: () => '' })

// —— Results ————————————————————————————————————————————————————————————————————————————————————————————————————————————

const sum = z.object({ sum: z.number(), unit: z.string().default('one') })
defineTool({ ...named, output: sum, run: () => ({ sum: 1 }) }) // what has a default may be left out
defineTool({ ...named, output: sum, run: async () => ({ sum: 1, unit: 'two' }) })
defineTool({
  ...named,
  output: sum,
  run: () => content.result({ content: [content.text('1')], structuredContent: { sum: 1 } }),
})
defineTool({ ...named, output: type({ sum: 'number' }), run: () => ({ sum: 1 }) })
defineTool({ ...named, output: jsonSchema<{ sum: number }>({ type: 'object' }), run: () => ({ sum: 1 }) })
defineTool({ ...named, output: { type: 'object' }, run: () => ({ anything: true }) })
defineTool({ ...named, output: z.array(z.number()), run: () => [1, 2] })
// @ts-expect-error the sum is a number
defineTool({ ...named, output: sum, run: () => ({ sum: '1' }) })
// @ts-expect-error the sum is missing
defineTool({ ...named, output: sum, run: () => ({ unit: 'one' }) })
// @ts-expect-error also where it comes later
defineTool({ ...named, output: sum, run: async () => ({ sum: '1' }) })
// @ts-expect-error nothing is returned
defineTool({ ...named, output: sum, run: () => undefined })
// @ts-expect-error a text does not fit
defineTool({ ...named, output: sum, run: () => 'one' })
// @ts-expect-error the array's items are numbers
defineTool({ ...named, output: z.array(z.number()), run: () => ['1'] })
// @ts-expect-error ArkType: the sum is a number
defineTool({ ...named, output: type({ sum: 'number' }), run: () => ({ sum: '1' }) })
// @ts-expect-error plain JSON Schema that says its type
defineTool({ ...named, output: jsonSchema<{ sum: number }>({ type: 'object' }), run: () => ({ sum: '1' }) })

for (const result of ['text', 1, true, null, undefined, { any: 'object' }, content.text('x'), [content.text('x')]])
  defineTool({ ...named, run: () => result })
defineTool({ ...named, run: () => {} })
defineTool({ ...named, run: async () => content.image(new Uint8Array(), 'image/png') })
// @ts-expect-error JSON has no such values
defineTool({ ...named, run: () => Symbol('x') })
// @ts-expect-error nor these
defineTool({ ...named, run: () => 12n })

// —— What a handler gets beside its arguments ————————————————————————————————————————————————————————————————————————————

defineTool({
  ...named,
  run(_args, ctx) {
    holds<Equal<typeof ctx, Context>>()
    holds<Equal<typeof ctx.signal, AbortSignal>>()
    holds<Equal<typeof ctx.requestId, string>>()
    holds<Equal<typeof ctx.client, Client>>()
    holds<Equal<typeof ctx.principal, Principal>>()
    ctx.progress(1)
    ctx.progress(1, 2, 'half')
    ctx.log.warning('careful', { order: 7 })
    ctx.notify.resourceUpdated('doc://guide')
    ctx.closeStream()
    // @ts-expect-error how far it is, is a number
    ctx.progress('half')
    // @ts-expect-error MCP calls it `warning`
    ctx.log.warn('careful')
    // @ts-expect-error fields are an object
    ctx.log.info('careful', 7)
    // @ts-expect-error what is handed over is not the handler's to change
    ctx.requestId = 'mine'
    // @ts-expect-error there is no such member
    void ctx.session
    return ''
  },
})

// —— Resources ——————————————————————————————————————————————————————————————————————————————————————————————————————————

defineResource({
  uriTemplate: 'doc://{shelf}/{+path}',
  name: 'documents',
  complete: { shelf: (value) => [value], path: async (_value, { arguments: chosen }) => [chosen.shelf ?? ''] },
  list: () => [{ uri: 'doc://a/b', name: 'b' }],
  read(variables, ctx) {
    holds<Equal<Flat<typeof variables>, { shelf: string; path: string }>>()
    holds<Equal<typeof ctx, Context>>()
    // @ts-expect-error there is no such variable
    void variables.page
    return variables.shelf + variables.path
  },
})
defineResource({
  uri: 'doc://guide',
  name: 'guide',
  size: 7,
  read(uri) {
    holds<Equal<typeof uri, string>>()
    return new Uint8Array()
  },
})
defineResource({
  uri: 'doc://many',
  name: 'many',
  read: async () => [
    { uri: 'doc://1', text: 'one' },
    { uri: 'doc://2', blob: 'AA==' },
  ],
})
const computed: string = ['doc://{', 'page}'].join('')
defineResource({
  uriTemplate: computed,
  name: 'computed',
  read(variables) {
    holds<Equal<typeof variables, Record<string, string>>>()
    return undefined // there is no such resource
  },
})
// @ts-expect-error there is no variable of this name
defineResource({ uriTemplate: 'doc://{page}', name: 'pages', complete: { pag: () => [] }, read: () => '' })
// @ts-expect-error a completion proposes texts
defineResource({ uriTemplate: 'doc://{page}', name: 'pages', complete: { page: () => [1] }, read: () => '' })
// @ts-expect-error neither address
defineResource({ name: 'nowhere', read: () => '' })
// @ts-expect-error both addresses
defineResource({ uri: 'doc://a', uriTemplate: 'doc://{a}', name: 'both', read: () => '' })
// @ts-expect-error contents are text, bytes, or contents of resources
defineResource({ uri: 'doc://a', name: 'a', read: () => 7 })
// @ts-expect-error only these two scopes exist
defineResource({ uri: 'doc://a', name: 'a', cacheScope: 'shared', read: () => '' })
// @ts-expect-error a fixed address has nothing to complete
defineResource({ uri: 'doc://a', name: 'a', complete: {}, read: () => '' })

// —— Prompts ————————————————————————————————————————————————————————————————————————————————————————————————————————————

definePrompt({
  name: 'review',
  arguments: z.object({ diff: z.string(), tone: z.enum(['kind', 'frank']).default('kind') }),
  complete: { tone: (value) => ['kind', 'frank'].filter((tone) => tone.startsWith(value)) },
  get(args, ctx) {
    holds<Equal<Flat<typeof args>, { diff: string; tone: 'kind' | 'frank' }>>()
    holds<Equal<typeof ctx, Context>>()
    return { description: 'A review', messages: [{ role: 'user', content: content.text(args.diff) }] }
  },
})
definePrompt({ name: 'hello', get: () => 'Say hello.' })
definePrompt({ name: 'hello', get: async () => [{ role: 'assistant', content: content.text('Hello.') }] })
// @ts-expect-error there is no argument of this name
definePrompt({ name: 'a', arguments: z.object({ diff: z.string() }), complete: { dif: () => [] }, get: () => '' })
// @ts-expect-error there is no argument of this name
definePrompt({ name: 'a', arguments: z.object({ diff: z.string() }), get: ({ dif }) => dif })
// @ts-expect-error messages are of the user or of the assistant
definePrompt({ name: 'a', get: () => [{ role: 'system', content: content.text('x') }] })
// @ts-expect-error a prompt is text or messages
definePrompt({ name: 'a', get: () => 7 })

// —— Servers ————————————————————————————————————————————————————————————————————————————————————————————————————————————

const tool = defineTool({ ...named, run: () => '' })
const server = defineServer({ name: 'desk', version: '1.0.0', tools: [tool] })
holds<Equal<typeof tool, ToolDefinition>>()
holds<Equal<typeof server, ServerDefinition>>()
// @ts-expect-error a version is needed
defineServer({ name: 'desk' })
// @ts-expect-error tools are made by defineTool
defineServer({ name: 'desk', version: '1.0.0', tools: [{ name: 'tool', description: 'A tool', run: () => '' }] })
// @ts-expect-error a prompt is no tool
defineServer({ name: 'desk', version: '1.0.0', tools: [definePrompt({ name: 'a', get: () => '' })] })
// @ts-expect-error a misspelt field
defineServer({ name: 'desk', version: '1.0.0', tool: [tool] })
// @ts-expect-error a definition is not changed once it is made
server.tools[0] = tool

// —— Around them ————————————————————————————————————————————————————————————————————————————————————————————————————————

export async function runtimes(): Promise<void> {
  const runtime = await createRuntime(server, { maxBodyBytes: 1024, allowedHosts: ['example.com'], dataDir: false })
  holds<Equal<typeof runtime, Runtime>>()
  const listener: RequestListener = runtime.nodeHandler
  const handler: (request: Request) => Promise<Response> = runtime.fetch
  const { url, port } = await runtime.listen({ port: 0 })
  holds<Equal<typeof url, string>>()
  holds<Equal<typeof port, number>>()
  void [listener, handler]
  // @ts-expect-error an option of another kind
  await createRuntime(server, { maxBodyBytes: '1mb' })
  // @ts-expect-error a misspelt option
  await createRuntime(server, { maxBodyByte: 1024 })
  // @ts-expect-error only what defineServer has made is a server
  await createRuntime({ name: 'desk', version: '1.0.0' })

  await using client = await connect(server, { revision: '2025-06-18' })
  const { content: blocks, isError, text } = await client.callTool('tool', { a: 1 }, { signal: AbortSignal.timeout(1) })
  holds<Equal<typeof blocks, ContentBlock[]>>()
  holds<Equal<typeof isError, boolean>>()
  holds<Equal<typeof text, string>>()
  // @ts-expect-error there is no such revision
  await connect(server, { revision: '2024-11-05' })
}

export function errors(): never {
  const error = new HoldfastError('invalid_params', 'What', { data: { field: 'a' } })
  holds<Equal<typeof error.code, ErrorCode>>()
  holds<Equal<typeof error.retryable, boolean>>()
  // @ts-expect-error there is no such code
  new HoldfastError('invalid_param')
  throw toolError('The shelf is empty.', { cause: error })
}

// Triggers: what a function is given follows from where its messages come from.
defineTrigger({
  name: 'messages',
  tool: 'ingest',
  from: () => process.env['ORDERS_URL'],
  id: ({ headers }) => headers['order-id'] ?? '',
  toArguments: (message) => ({ text: Buffer.from(message.body).toString(), at: message.headers['at'] }),
})
defineTrigger({
  name: 'nightly',
  tool: 'report',
  from: { cron: '0 6 * * *', timeZone: 'Europe/Tallinn' },
  toArguments: ({ scheduledMs }) => ({ day: new Date(scheduledMs).toISOString() }),
})
// @ts-expect-error a schedule has no messages
defineTrigger({ name: 'x', tool: 'y', from: { cron: '@daily' }, toArguments: ({ body }) => ({ body }) })
// @ts-expect-error a message has no scheduled time
defineTrigger({ name: 'x', tool: 'y', from: 'sqs://x', toArguments: ({ scheduledMs }) => ({ scheduledMs }) })
// @ts-expect-error a schedule has its own ids
defineTrigger({ name: 'x', tool: 'y', from: { cron: '@daily' }, id: () => 'x' })
