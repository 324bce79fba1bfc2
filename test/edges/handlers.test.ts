import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { content, definePrompt, defineResource, defineServer, defineTool, toolError } from '../../src/index.ts'
import { callTool, ERAS, request, textOf } from './support/caller.ts'
import type { Json } from './support/messages.ts'
import { overHttp, type HttpTransport } from './support/transports.ts'

const SECRET = 'hunter2'
const cycle: Json = {}
cycle.self = cycle
const hostile = new Proxy(
  {},
  {
    get: () => {
      throw new Error(SECRET)
    },
  },
)
const withGetter = Object.defineProperty(new Error('x'), 'message', {
  get: () => {
    throw new Error(SECRET)
  },
})

/** What handlers throw, none of it fit for a client. */
const THROWN: Readonly<Record<string, unknown>> = {
  'an error': new Error(SECRET),
  'an error with a cause': new Error(SECRET, { cause: new Error(SECRET) }),
  'an error that is its own cause': Object.assign(new Error(SECRET), { cause: cycle }),
  'several errors': new AggregateError([new Error(SECRET), undefined], SECRET),
  'a string': SECRET,
  undefined: undefined,
  null: null,
  'a symbol': Symbol(SECRET),
  'a BigInt': 1n,
  'a function': () => SECRET,
  'an object': { password: SECRET },
  'a cycle': cycle,
  'an object without a prototype': Object.create(null),
  'an error whose message throws': withGetter,
  'an object that throws whatever one does with it': hostile,
}

/** What handlers return although no tool may. */
const RETURNED: Readonly<Record<string, () => unknown>> = {
  'a cycle': () => cycle,
  'a BigInt': () => 1n,
  'an object with a BigInt': () => ({ n: 1n }),
  'a function': () => () => SECRET,
  'a symbol': () => Symbol(SECRET),
  'an object whose toJSON throws': () => ({
    toJSON: () => {
      throw new Error(SECRET)
    },
  }),
  'an object that throws whatever one does with it': () => hostile,
  'text that is no text': () => content.text(undefined as never),
  'text that is a number': () => content.text(5 as never),
  'text that is a function': () => content.text((() => SECRET) as never),
  'text beside more text that is none': () => [content.text('a'), content.text(undefined as never)],
  'a picture without data': () => content.image(undefined as never, 'image/png'),
  'a result without content': () => content.result({} as never),
  'a result whose content is text': () => content.result({ content: SECRET } as never),
  'a result whose content holds a cycle': () => content.result({ content: [cycle as never] }),
  'a result whose structured content holds a BigInt': () =>
    content.result({ content: [], structuredContent: { n: 1n } }),
  'a result whose `_meta` is text': () => content.result({ content: [], _meta: SECRET as never }),
}

/** What is found out only when the whole answer is written. */
const UNWRITABLE: Readonly<Record<string, Json>> = { 'a BigInt': { n: 1n }, 'a cycle': cycle }

const OUTPUT = { type: 'object', properties: { n: { type: 'number' } }, required: ['n'] } as const
const nameOf = (kind: string, what: string): string => `${kind}-${what.replaceAll(/[^A-Za-z]+/g, '-')}`.slice(0, 64)
const tools = [
  defineTool({ name: 'fine', description: 'Works', run: () => 'fine' }),
  defineTool({
    name: 'told',
    description: 'Throws what the model should read',
    run: () => {
      throw toolError('Give another number.')
    },
  }),
  ...Object.entries(THROWN).flatMap(([what, thrown]) => [
    defineTool({
      name: nameOf('throws', what),
      description: what,
      run: () => {
        throw thrown
      },
    }),
    defineTool({
      name: nameOf('rejects', what),
      description: what,
      run: async () => {
        await Promise.resolve()
        throw thrown
      },
    }),
  ]),
  ...Object.entries(RETURNED).flatMap(([what, make]) => [
    defineTool({ name: nameOf('returns', what), description: what, run: () => make() as never }),
    defineTool({ name: nameOf('resolves', what), description: what, run: async () => make() as never }),
  ]),
  ...Object.entries(UNWRITABLE).flatMap(([what, _meta]) => [
    defineTool({
      name: nameOf('returns-meta', what),
      description: what,
      run: () => content.result({ content: [], _meta }),
    }),
    defineTool({
      name: nameOf('resolves-meta', what),
      description: what,
      run: async () => content.result({ content: [], _meta }),
    }),
  ]),
  ...[{ n: 'x' }, {}, null, 'text', [1], undefined].map((value, index) =>
    defineTool({
      name: `misfit-${index}`,
      description: JSON.stringify(value) ?? 'nothing',
      output: OUTPUT,
      run: () => value as never,
    }),
  ),
]

const failing = (): never => {
  throw new Error(SECRET)
}
/** What reads of resources return or throw. */
const READS: Readonly<Record<string, () => unknown>> = {
  throws: failing,
  cycle: () => cycle,
  bigint: () => ({ uri: 'bad://bigint', text: 1n }),
  number: () => 5,
  holes: () => [undefined],
  symbol: () => Symbol(SECRET),
  later: () => Promise.reject(new Error(SECRET)),
}
/** What prompts return or throw. */
const PROMPTS: Readonly<Record<string, () => unknown>> = {
  throws: failing,
  null: () => null,
  undefined: () => undefined,
  number: () => 5,
  cycle: () => [{ role: 'user', content: cycle }],
  messages: () => ({ messages: SECRET }),
  holes: () => [undefined],
  later: () => Promise.reject(new Error(SECRET)),
}
/** What completions return or throw. */
const COMPLETIONS: Readonly<Record<string, () => unknown>> = {
  throws: failing,
  undefined: () => undefined,
  text: () => SECRET,
  numbers: () => [1, 2],
  bigint: () => [1n],
  later: () => Promise.reject(new Error(SECRET)),
}
const server = defineServer({
  name: 'misbehaving',
  version: '1.0.0',
  tools,
  resources: [
    defineResource({ uri: 'bad://null', name: 'null', read: () => null as never }),
    ...Object.entries(READS).map(([name, read]) => defineResource({ uri: `bad://${name}`, name, read: read as never })),
    defineResource({
      uriTemplate: 'completed://{value}',
      name: 'completed',
      complete: { value: (value) => COMPLETIONS[value]!() as never },
      read: () => '',
    }),
  ],
  prompts: Object.entries(PROMPTS).map(([name, get]) => definePrompt({ name, get: get as never })),
})

describe.each(ERAS)('in %s a handler', (era) => {
  let http: HttpTransport
  beforeAll(async () => {
    http = await overHttp({}, server)
  })
  afterAll(() => http.runtime.close())

  /** The call fails with a sentence that says nothing of the cause, and a call beside it is served. */
  async function expectNeutralFailure(tool: string): Promise<void> {
    const [called, beside] = await Promise.all([callTool(http, era, tool), callTool(http, era, 'fine')])
    expect(called).toMatchObject({ status: 200, answer: { id: 'call', result: { isError: true } }, notifications: [] })
    expect(textOf(called)).toMatch(
      /^The tool "[\w-]+" (failed unexpectedly|returned a result .*) \(request \w+-\w+\)\.$/,
    )
    expect(JSON.stringify(called)).not.toMatch(/hunter2|\.ts|node:/)
    expect(called.answer!.result).not.toHaveProperty('structuredContent')
    expect(textOf(beside)).toBe('fine')
  }

  it.each(Object.keys(THROWN))('that throws %s fails alone, and tells nothing', (what) =>
    expectNeutralFailure(nameOf('throws', what)),
  )
  it.each(Object.keys(THROWN))('that rejects with %s fails alone, and tells nothing', (what) =>
    expectNeutralFailure(nameOf('rejects', what)),
  )
  it.each(Object.keys(RETURNED))('that returns %s fails alone, and tells nothing', (what) =>
    expectNeutralFailure(nameOf('returns', what)),
  )
  it.each(Object.keys(RETURNED))('that resolves to %s fails alone, and tells nothing', (what) =>
    expectNeutralFailure(nameOf('resolves', what)),
  )
  it.each([0, 1, 2, 3, 4, 5])(
    'whose result does not fit the output schema (%i) fails alone, and tells nothing',
    (index) => expectNeutralFailure(`misfit-${index}`),
  )

  it('that throws a tool error is heard', async () => {
    const called = await callTool(http, era, 'told')
    expect(called.answer!.result).toMatchObject({ isError: true })
    expect(textOf(called)).toBe('Give another number.')
  })

  const expectInternalError = async (method: string, params: Json): Promise<void> => {
    const [called, beside] = await Promise.all([request(http, era, method, params), callTool(http, era, 'fine')])
    expect(called).toMatchObject({
      status: 200,
      answer: { id: 'call', error: { code: -32603, data: { code: 'internal_error', retryable: false } } },
    })
    expect(JSON.stringify(called)).not.toMatch(/hunter2|\.ts|node:/)
    expect(textOf(beside)).toBe('fine')
  }
  it.each(Object.keys(UNWRITABLE))(
    'that returns a result whose `_meta` holds %s is an internal error',
    async (what) => {
      await expectInternalError('tools/call', { name: nameOf('returns-meta', what) })
      await expectInternalError('tools/call', { name: nameOf('resolves-meta', what) })
    },
  )
  it('of a resource that returns null says that there is none', async () => {
    const { answer } = await request(http, era, 'resources/read', { uri: 'bad://null' })
    expect(answer!.error).toMatchObject({ data: { code: 'resource_not_found', uri: 'bad://null' } })
  })
  it.each(Object.keys(READS))('of a resource that goes wrong (%s) is an internal error', (name) =>
    expectInternalError('resources/read', { uri: `bad://${name}` }),
  )
  it.each(Object.keys(PROMPTS))('of a prompt that goes wrong (%s) is an internal error', (name) =>
    expectInternalError('prompts/get', { name }),
  )
  it.each(Object.keys(COMPLETIONS))('of a completion that goes wrong (%s) is an internal error', (value) =>
    expectInternalError('completion/complete', {
      ref: { type: 'ref/resource', uri: 'completed://{value}' },
      argument: { name: 'value', value },
    }),
  )
})
