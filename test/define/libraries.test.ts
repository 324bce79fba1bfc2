import { afterEach, describe, expect, test } from 'vitest'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { createRuntime, content, definePrompt, defineServer, defineTool, type Schema } from '../../src/index.ts'
import { connect, type ConnectOptions, type TestClient } from '../../src/testing/index.ts'
import { LIBRARIES } from './libraries.ts'

let clients: TestClient[] = []
afterEach(async () => {
  for (const client of clients) await client.close()
  clients = []
})

/** What the handler got, and a client. */
async function withTool(
  schemas: { input?: Schema; output?: Schema },
  run: (args: unknown) => unknown = () => 'ran',
  options?: ConnectOptions,
): Promise<{ client: TestClient; got: unknown[] }> {
  const got: unknown[] = []
  const tool = defineTool({
    name: 'tool',
    description: 'A tool',
    ...schemas,
    run: (args: unknown) => {
      got.push(args)
      return run(args) as never
    },
  } as never)
  const client = await connect(defineServer({ name: 'libraries', version: '1.0.0', tools: [tool] }), options)
  clients.push(client)
  return { client, got }
}
async function listed(client: TestClient, member: 'inputSchema' | 'outputSchema'): Promise<Record<string, any>> {
  const [tool] = await client.listTools()
  return tool![member] as Record<string, any>
}
/** Clients check what they get against what was listed: so must it be valid, and so must it say the truth. */
const validator = (schema: Record<string, unknown>) =>
  new Ajv2020({ strict: false, validateFormats: false }).compile(schema)

describe.each(LIBRARIES)('$name', (library) => {
  test('is listed as JSON Schema: an object, its properties, which of them are required, and what they are for', async () => {
    const { client } = await withTool({ input: library.person })
    const schema = await listed(client, 'inputSchema')
    expect(schema).toMatchObject({
      type: 'object',
      properties: {
        name: { type: 'string', minLength: 1 },
        age: { type: 'integer', minimum: 0 },
        tags: { type: 'array', items: { type: 'string' } },
      },
      required: ['name'],
    })
    if (library.name !== 'ArkType') {
      expect(schema.properties.name.description).toBe('Who it is')
      expect(schema.properties.age.default).toBe(30)
    }
    const check = validator(schema)
    expect(check({ name: 'Ada' })).toBe(true)
    expect(check({ age: 3 })).toBe(false)
  })

  test('lets through what fits, with its defaults', async () => {
    const { client, got } = await withTool({ input: library.person })
    expect((await client.callTool('tool', { name: 'Ada' })).isError).toBe(false)
    expect((await client.callTool('tool', { name: 'Bob', age: 0, tags: [] })).isError).toBe(false)
    expect(got).toEqual([
      library.defaults ? { name: 'Ada', age: 30 } : { name: 'Ada' },
      { name: 'Bob', age: 0, tags: [] },
    ])
  })

  test.each([
    ['a missing argument', {}, /name/, /string|required|"name"/i],
    ['an argument of another type', { name: 7 }, /name/, /string/i],
    ['a text that is too short', { name: '' }, /name/, />=1|non-empty|fewer than 1/i],
    ['a number that is too small', { name: 'x', age: -1 }, /age/, />= ?0|non-negative/i],
    ['something deep inside', { name: 'x', tags: ['a', 1] }, /tags\[1\]/, /string/i],
  ])('says of %s where it stands, and what was expected', async (_what, args, path, expectation) => {
    const { client, got } = await withTool({ input: library.person })
    const { isError, text } = await client.callTool('tool', args)
    expect(isError).toBe(true)
    expect(text).toMatch(/^Invalid arguments for the tool "tool": /)
    expect(text).toMatch(path)
    expect(text).toMatch(expectation)
    expect(got).toEqual([])
  })

  test('says where something stands once', async () => {
    const { client } = await withTool({ input: library.person })
    const { text } = await client.callTool('tool', { name: 'x', tags: ['a', 1] })
    expect(text.match(/tags\[1\]/g)).toHaveLength(1)
  })

  test('can be recursive', async () => {
    const { client, got } = await withTool({ input: library.recursive })
    const good = { root: { value: 1, children: [{ value: 2, children: [] }] } }
    const bad = { root: { value: 1, children: [{ value: 'two', children: [] }] } }
    const check = validator(await listed(client, 'inputSchema'))
    expect([check(good), check(bad)]).toEqual([true, false])
    expect((await client.callTool('tool', good)).isError).toBe(false)
    const { isError, text } = await client.callTool('tool', bad)
    expect(isError).toBe(true)
    expect(text).toContain('root.children[0].value')
    expect(got).toEqual([good])
  })

  test('can be a union', async () => {
    const { client, got } = await withTool({ input: library.union })
    const good = { shape: { kind: 'square', side: 2 } }
    const bad = { shape: { kind: 'square', radius: 2 } }
    const check = validator(await listed(client, 'inputSchema'))
    expect([check(good), check(bad)]).toEqual([true, false])
    expect((await client.callTool('tool', good)).isError).toBe(false)
    const { isError, text } = await client.callTool('tool', bad)
    expect(isError).toBe(true)
    expect(text).toContain('side')
    expect(got).toEqual([good])
  })

  if (library.transform !== undefined)
    test('hands over what its transforms make; clients are told what to send', async () => {
      const { client, got } = await withTool({ input: library.transform! })
      expect((await listed(client, 'inputSchema')).properties).toMatchObject({
        when: { type: 'string' },
        count: { type: 'string' },
      })
      await client.callTool('tool', { when: '2026-07-28', count: '12' })
      expect(got).toEqual([{ when: new Date('2026-07-28'), count: 12 }])
      const { isError, text } = await client.callTool('tool', { when: 'soon', count: '12' })
      expect([isError, got.length]).toEqual([true, 1])
      expect(text).toContain('when')
    })

  if (library.refinement !== undefined)
    test('holds its refinements', async () => {
      const { client, got } = await withTool({ input: library.refinement! })
      expect((await client.callTool('tool', { password: 'a', again: 'a' })).isError).toBe(false)
      const { isError, text } = await client.callTool('tool', { password: 'a', again: 'b' })
      expect(isError).toBe(true)
      expect(text).toMatch(/again.*the same/)
      expect(got).toHaveLength(1)
    })

  if (library.asyncRefinement !== undefined)
    test('holds refinements that take their time', async () => {
      const { client, got } = await withTool({ input: library.asyncRefinement! })
      const answers = await Promise.all([
        client.callTool('tool', { user: 'ada' }),
        client.callTool('tool', { user: 'taken' }),
        client.callTool('tool', { user: 'bob' }),
      ])
      expect(answers.map(({ isError }) => isError)).toEqual([false, true, false])
      expect(answers[1]!.text).toBe('Invalid arguments for the tool "tool": user: is taken')
      expect(got).toEqual([{ user: 'ada' }, { user: 'bob' }])
    })

  describe('as output', () => {
    const good = { city: 'Tartu', population: 97_759 }

    test('is listed, and every result that goes out fits it', async () => {
      const { client } = await withTool({ output: library.city }, () => good)
      const schema = await listed(client, 'outputSchema')
      expect(schema).toMatchObject({
        type: 'object',
        properties: { city: { type: 'string' }, population: { type: 'integer' } },
      })
      expect([...schema.required].sort()).toEqual(['city', 'population'])
      const result = await client.callTool('tool')
      expect(result).toMatchObject({ isError: false, structuredContent: good, text: JSON.stringify(good) })
      expect(validator(schema)(result.structuredContent)).toBe(true)
    })

    test.each([
      ['a member of another type', { city: 'Tartu', population: 'many' }],
      ['a missing member', { city: 'Tartu' }],
      ['nothing', undefined],
      ['a text', 'Tartu'],
    ])('keeps %s from clients, as a mistake of the server’s', async (_what, value) => {
      const { client } = await withTool({ output: library.city }, () => value)
      const { isError, text, structuredContent } = await client.callTool('tool')
      expect([isError, structuredContent]).toEqual([true, undefined])
      expect(text).toMatch(/^The tool "tool" returned a result that it may not return \(request [\w-]+\)\.$/)
    })

    test('goes beside blocks of the handler’s own', async () => {
      const { client } = await withTool({ output: library.city }, () =>
        content.result({ content: [content.text('Tartu, a city')], structuredContent: good }),
      )
      expect(await client.callTool('tool')).toMatchObject({ text: 'Tartu, a city', structuredContent: good })
    })

    test('is checked there too', async () => {
      const { client } = await withTool({ output: library.city }, () =>
        content.result({ content: [content.text('Tartu')], structuredContent: { city: 7 } }),
      )
      expect((await client.callTool('tool')).isError).toBe(true)
    })

    test('that is no object is known to 2026-07-28 alone', async () => {
      const { client } = await withTool({ output: library.numbers }, () => [1, 2])
      expect(await listed(client, 'outputSchema')).toMatchObject({ type: 'array', items: { type: 'number' } })
      expect((await client.callTool('tool')).structuredContent).toEqual([1, 2])
      const old = await withTool({ output: library.numbers }, () => [1, 2], { revision: '2025-11-25' })
      expect(await listed(old.client, 'outputSchema')).toBeUndefined()
      expect(await old.client.callTool('tool')).toMatchObject({ text: '[1,2]', isError: false })
      expect((await old.client.callTool('tool')).structuredContent).toBeUndefined()
    })
  })
})

describe('arguments of prompts', () => {
  test.each(LIBRARIES)('of $name are listed, and checked', async ({ name, greeting, defaults }) => {
    const got: unknown[] = []
    const prompt = definePrompt({
      name: 'greet',
      arguments: greeting,
      get: (args: unknown) => {
        got.push(args)
        return 'Hello'
      },
    } as never)
    const client = await connect(defineServer({ name: 'prompts', version: '1.0.0', prompts: [prompt] }))
    clients.push(client)
    const [listed] = await client.listPrompts()
    const described = name === 'ArkType' ? {} : { description: 'Who it is' }
    expect(listed!.arguments).toEqual(
      expect.arrayContaining([
        { name: 'name', required: true, ...described },
        { name: 'language', required: false },
      ]),
    )
    await client.getPrompt('greet', { name: 'Ada' })
    expect(got).toEqual([defaults ? { name: 'Ada', language: 'en' } : { name: 'Ada' }])
    await expect(client.getPrompt('greet', { name: '' })).rejects.toThrow(
      /arguments of the prompt "greet" do not fit: .*name/,
    )
    await expect(client.getPrompt('greet', { name: 'Ada', language: 'xx' })).rejects.toThrow(/language.*en.*et/)
    await expect(client.getPrompt('greet', {})).rejects.toMatchObject({ code: -32602 })
  })
})

test('before 2025-11-25 bad arguments are an error of the protocol', async () => {
  const { client } = await withTool({ input: LIBRARIES[0]!.person }, undefined, { revision: '2025-06-18' })
  await expect(client.callTool('tool', {})).rejects.toMatchObject({
    code: -32602,
    message: expect.stringMatching(/^Invalid arguments for the tool "tool": name: /),
  })
})

test('no more than ten mistakes are told at once', async () => {
  const [{ person }] = LIBRARIES as [(typeof LIBRARIES)[number]]
  const { client } = await withTool({ input: person })
  const { text } = await client.callTool('tool', { name: 'x', tags: Array.from({ length: 50 }, () => 1) })
  expect(text.split('; ')).toHaveLength(10)
})

test('a check that fails itself fails the call, and tells the client nothing of why', async () => {
  const schema = {
    '~standard': {
      version: 1,
      vendor: 'mine',
      validate: () => {
        throw new Error('the look-up of users is down: db-7.internal')
      },
      jsonSchema: { input: () => ({ type: 'object' }), output: () => ({ type: 'object' }) },
    },
  } as unknown as Schema
  const { client } = await withTool({ input: schema })
  const answer = await client.callTool('tool', {}).then(
    ({ text, isError }) => ({ text, isError }),
    (error: Error) => ({ text: error.message, isError: true }),
  )
  expect(answer.isError).toBe(true)
  expect(answer.text).not.toContain('db-7')
})

test('a schema that two tools share is made ready for both', async () => {
  const [{ person }] = LIBRARIES as [(typeof LIBRARIES)[number]]
  const tools = ['one', 'two'].map((name) => defineTool({ name, description: name, input: person, run: () => name }))
  const runtime = await createRuntime(defineServer({ name: 'shared', version: '1.0.0', tools }), {
    dataDir: false,
    logLevel: 'silent',
  })
  await runtime.close()
  expect(tools[0]!.input.json).toEqual(tools[1]!.input.json)
})
