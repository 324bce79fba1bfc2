// What every official client must be able to do with the fixture, wherever it is served.
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { KINDS, type Session, type Target } from './connect.ts'
import { eventually } from './eventually.ts'

type Transport = Target['transport']

/** Declares the tests of all official clients over these transports. */
export function testOfficialClients(transports: readonly Transport[], target: (transport: Transport) => Target): void {
  const matrix = KINDS.flatMap((kind) => transports.map((transport) => ({ ...kind, transport })))
  describe.each(matrix)('$name over $transport', ({ revision, transport, notFoundCode, connect }) => {
    const isModern = revision === '2026-07-28'
    const hasStructure = revision !== '2025-03-26'
    let session: Session
    beforeAll(async () => {
      session = await connect(target(transport))
    })
    afterAll(async () => {
      await session?.[Symbol.asyncDispose]()
    })
    beforeEach(() => {
      session.notifications.length = 0
    })
    const text = async (name: string, args?: Record<string, unknown>): Promise<string | undefined> =>
      (await session.call(name, args)).content[0]?.text

    test('meets the server under its name, with its capabilities and instructions', async () => {
      expect(session.client.getServerVersion()).toMatchObject({ name: 'fixture', version: '1.2.3' })
      expect(session.client.getInstructions()).toBe('For tests.')
      expect(session.client.getServerCapabilities()).toMatchObject({
        tools: { listChanged: true },
        prompts: { listChanged: true },
        resources: { listChanged: true, subscribe: true },
        completions: {},
        logging: {},
      })
      expect(JSON.parse((await text('whoami'))!)).toEqual({ name: 'client-tests', version: '4.5.6', revision })
    })

    test('lists tools with their schemas', async () => {
      const { tools } = await session.client.listTools()
      expect(tools.map((tool) => tool.name)).toEqual(
        'add echo media refuse crash routed work seen chat wait state touch change whoami cut'.split(' '),
      )
      expect(tools[0]).toMatchObject({
        description: 'Adds two numbers',
        annotations: { readOnlyHint: true },
        inputSchema: { type: 'object', required: ['a', 'b'], properties: { a: { type: 'number' } } },
      })
      expect(tools[0]!.outputSchema !== undefined).toBe(hasStructure)
      expect(tools[0]!.title).toBe(hasStructure ? 'Add' : undefined)
    })

    test('calls a tool and gets text, and structured content where the revision has it', async () => {
      const result = await session.call('add', { a: 1, b: 2 })
      expect(JSON.parse(result.content[0]!.text!)).toEqual({ sum: 3 })
      expect(result.structuredContent).toEqual(hasStructure ? { sum: 3 } : undefined)
      expect(result.isError ?? false).toBe(false)
    })

    test('gets blocks of every kind', async () => {
      const { content } = await session.call('media')
      // 2025-03-26 has no links; the text says where to look.
      const link = hasStructure ? 'resource_link' : 'text'
      expect(content.map((block) => block.type)).toEqual(['text', 'image', 'audio', 'resource', link])
      expect(JSON.stringify(content[4])).toContain('note://one')
      expect(content[1]).toMatchObject({ data: 'AQID', mimeType: 'image/png' })
      expect(content[3]).toMatchObject({ resource: { uri: 'note://inline', text: 'inside' } })
    })

    test('sends and gets texts that are longer than any buffer on the way', async () => {
      const long = 'Grüße 😀 "\\\n'.repeat(100_000)
      expect(await text('echo', { text: long })).toBe(long)
    })

    test('gets to each of many calls its own answer', async () => {
      const numbers = Array.from({ length: 50 }, (_, index) => index)
      const answers = await Promise.all(numbers.map((number) => text('echo', { text: String(number) })))
      expect(answers).toEqual(numbers.map(String))
    })

    test("reads a tool's own error as a result, and nothing of an unexpected one", async () => {
      const refused = await session.call('refuse')
      expect(refused).toMatchObject({ isError: true, content: [{ type: 'text', text: 'There is no customer 42.' }] })
      const crashed = await session.call('crash')
      expect(crashed.isError).toBe(true)
      expect(JSON.stringify(crashed)).not.toMatch(/hunter2|ECONNREFUSED|fixture\.ts/)
    })

    test('hears of wrong arguments, as a result for the model from 2025-11-25 on', async () => {
      const call = session.call('add', { a: 'one', b: 2 })
      if (revision < '2025-11-25') await expect(call).rejects.toMatchObject({ code: -32602 })
      else expect(await call).toMatchObject({ isError: true, content: [{ text: expect.stringContaining('a') }] })
    })

    test('hears that a tool does not exist', async () => {
      await expect(session.call('nothing')).rejects.toMatchObject({ code: -32602 })
    })

    test('calls a tool whose argument goes into a header', async () => {
      await session.client.listTools()
      expect(await text('routed', { region: 'eu-west' })).toBe('eu-west')
      expect(await text('routed', { region: ' Zürich\n' })).toBe(' Zürich\n')
    })

    test('lists and reads resources', async () => {
      const { resources } = await session.client.listResources()
      expect(resources.map((resource) => resource.uri)).toEqual([
        'doc://guide',
        'doc://logo',
        'note://one',
        'note://two',
      ])
      expect(resources[0]).toMatchObject({ name: 'guide', description: 'Some text', mimeType: 'text/markdown' })
      const read = async (uri: string) => (await session.client.readResource({ uri })).contents
      expect(await read('doc://guide')).toEqual([{ uri: 'doc://guide', mimeType: 'text/markdown', text: '# Guide' }])
      expect(await read('doc://logo')).toEqual([{ uri: 'doc://logo', mimeType: 'image/png', blob: 'BwgJ' }])
    })

    test('lists templates and reads what they stand for', async () => {
      const { resourceTemplates } = await session.client.listResourceTemplates()
      expect(resourceTemplates).toMatchObject([{ uriTemplate: 'note://{id}', name: 'note', mimeType: 'text/plain' }])
      const { contents } = await session.client.readResource({ uri: 'note://two' })
      expect(contents).toEqual([{ uri: 'note://two', mimeType: 'text/plain', text: 'second' }])
    })

    test.each(['doc://nothing', 'note://three'])('hears that there is no resource %s', async (uri) => {
      await expect(session.client.readResource({ uri })).rejects.toMatchObject({
        code: notFoundCode,
        data: { uri },
      })
    })

    test('lists and gets prompts', async () => {
      const { prompts } = await session.client.listPrompts()
      expect(prompts).toMatchObject([
        {
          name: 'greet',
          description: 'Greets somebody',
          arguments: [{ name: 'name', description: 'Whom', required: true }, { name: 'tone' }],
        },
        { name: 'grüße' },
        { name: 'linked' },
      ])
      expect(await session.client.getPrompt({ name: 'greet', arguments: { name: 'Ada', tone: 'wry' } })).toMatchObject({
        description: 'A greeting for Ada',
        messages: [{ role: 'user', content: { type: 'text', text: 'Greet Ada, wry.' } }],
      })
      expect(await session.client.getPrompt({ name: 'grüße' })).toMatchObject({
        messages: [{ role: 'user', content: { type: 'text', text: 'Grüß Gott.' } }],
      })
    })

    test('gets a prompt that points to a resource', async () => {
      const { messages } = await session.client.getPrompt({ name: 'linked' })
      expect(messages[0]?.content.type).toBe(hasStructure ? 'resource_link' : 'text')
      expect(JSON.stringify(messages)).toContain('note://one')
    })

    test('hears of an unknown prompt and of a missing argument', async () => {
      await expect(session.client.getPrompt({ name: 'nothing' })).rejects.toMatchObject({ code: -32602 })
      await expect(session.client.getPrompt({ name: 'greet' })).rejects.toMatchObject({ code: -32602 })
    })

    test('completes arguments of prompts and variables of templates', async () => {
      const prompt = { type: 'ref/prompt', name: 'greet' } as const
      const complete = async (params: Parameters<typeof session.client.complete>[0]) =>
        (await session.client.complete(params)).completion
      expect(await complete({ ref: prompt, argument: { name: 'name', value: 'A' } })).toMatchObject({
        values: ['Ada', 'Alan'],
        hasMore: false,
      })
      const template = { type: 'ref/resource', uri: 'note://{id}' } as const
      expect(await complete({ ref: template, argument: { name: 'id', value: 't' } })).toMatchObject({ values: ['two'] })
      if (revision === '2025-03-26') return // it has no context
      const context = { arguments: { name: 'Ada' } }
      expect(await complete({ ref: prompt, argument: { name: 'tone', value: 'w' }, context })).toMatchObject({
        values: ['warm', 'wry'],
      })
    })

    test('sees progress before the result', async () => {
      const seen: unknown[] = []
      const key = randomUUID()
      const onprogress = (update: unknown): void => {
        if (seen.push(update) === 3) void session.call('seen', { key })
      }
      const result = await session.call('work', { key }, { onprogress })
      expect(result.content[0]!.text).toBe('done')
      expect(seen).toMatchObject([
        { progress: 1, total: 3 },
        { progress: 2, total: 3 },
        { progress: 3, total: 3 },
      ])
    })

    test.each([
      ['that has sent nothing yet', false],
      ['that streams already', true],
    ])('cancels a call %s', async (_when, progress) => {
      const key = randomUUID()
      const abort = new AbortController()
      const call = session.call('wait', { key, progress }, { signal: abort.signal, onprogress: () => undefined })
      const rejected = expect(call).rejects.toThrow()
      await eventually(() => text('state', { key })).toBe('running')
      abort.abort()
      await rejected
      await eventually(() => text('state', { key })).toBe('aborted')
    })

    test('gets the logs that it asks for, and no others', async () => {
      await session.call('chat', {}, { logLevel: 'warning' })
      const logs = () => session.notifications.filter(({ method }) => method === 'notifications/message')
      await eventually(logs).toMatchObject([
        { params: { level: 'warning', data: { message: 'a worry', threshold: 3 } } },
      ])
      await session.call('chat', {}, { logLevel: 'debug' })
      await eventually(() =>
        logs()
          .slice(1)
          .map(({ params }) => params!['level']),
      ).toEqual(['debug', 'info', 'warning'])
    })

    if (isModern)
      test('gets no logs for a call that does not ask for any', async () => {
        await session.call('chat')
        await session.call('chat', {}, { logLevel: 'warning' })
        await eventually(() => session.notifications.length).toBe(1)
      })

    test('hears of updates of the resources that it subscribed to, until it stops', async () => {
      const updates = () =>
        session.notifications
          .filter(({ method }) => method === 'notifications/resources/updated')
          .map(({ params }) => params!['uri'])
      const stopGuide = await session.subscribe('doc://guide')
      const stopNote = await session.subscribe('note://one')
      // The stand-alone stream of the 2025 revisions opens some time after the client is connected.
      const touchUntilHeard = async (uri: string): Promise<void> => {
        await eventually(async () => {
          await session.call('touch', { uri })
          return updates()
        }).toContain(uri)
      }
      await touchUntilHeard('doc://guide')
      await session.call('touch', { uri: 'doc://logo' })
      await stopGuide()
      await eventually(async () => {
        session.notifications.length = 0
        await session.call('touch', { uri: 'doc://guide' })
        await touchUntilHeard('note://one')
        return updates()
      }).not.toContain('doc://guide')
      expect(updates()).not.toContain('doc://logo')
      await stopNote()
    })

    test('hears of changed lists', async () => {
      await session.watchLists()
      await eventually(async () => {
        await session.call('change')
        return session.notifications.map(({ method }) => method)
      }).toEqual(
        expect.arrayContaining([
          'notifications/tools/list_changed',
          'notifications/prompts/list_changed',
          'notifications/resources/list_changed',
        ]),
      )
    })

    if (!isModern)
      test('pings', async () => {
        expect(await session.client.ping()).toEqual({})
      })

    if (!isModern && transport === 'http')
      test('ends its session, and can not go on with it', async () => {
        await using other = await connect(target(transport))
        await other.call('whoami')
        await other.end()
        await expect(other.call('whoami')).rejects.toThrow()
        expect(await text('whoami')).toContain(revision) // another session of the same kind goes on
      })

    if (revision === '2025-11-25')
      test('gets the result of a call whose connection the server cut', async () => {
        expect(await text('cut')).toBe('after the cut')
      })
  })
}
