import { randomBytes } from 'node:crypto'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import * as z from 'zod'
import { content, createRuntime, defineServer, defineTool, type Artifact, type Revision } from '../../src/index.ts'
import {
  connect,
  FaultyArtifactStore,
  type RpcError,
  type OperationFault,
  type TestClient,
} from '../../src/testing/index.ts'
import { openFileArtifacts } from '../../src/backends/filesystem/artifact-store.ts'
import { MemoryArtifactStore } from '../../src/backends/memory/artifact-store.ts'
import { systemClock } from '../../src/ports/clock.ts'

const KIB = 1024
let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'holdfast-artifacts-'))
})
afterEach(() => rmSync(dir, { recursive: true }))

const write = defineTool({
  name: 'write',
  description: 'Writes an artifact',
  input: z.object({
    text: z.string().optional(),
    repeat: z.number().default(1),
    name: z.string().default('note.txt'),
    mimeType: z.string().optional(),
    base64: z.boolean().default(false),
  }),
  run: ({ text = '', repeat, name, mimeType, base64 }, ctx) => {
    const one = Buffer.from(text, base64 ? 'base64' : 'utf8')
    async function* stream() {
      for (let turn = 0; turn < repeat; turn++) yield one
    }
    return ctx.artifacts.put(repeat === 1 && !base64 ? text : stream(), { name, ...(mimeType && { mimeType }) })
  },
})
const readBack = defineTool({
  name: 'read',
  description: 'Reads an artifact',
  input: z.object({ uri: z.string(), from: z.number().optional(), to: z.number().optional() }),
  async run({ uri, from, to }, { artifacts }) {
    const found: Artifact | undefined = await artifacts.get(
      uri,
      from === undefined ? undefined : { from, ...(to && { to }) },
    )
    return found === undefined ? 'none' : `${found.name} ${found.size}: ${await new Response(found.body).text()}`
  },
})
const big = defineTool({
  name: 'big',
  description: 'Answers with what is big',
  input: z.object({ what: z.enum(['text', 'image', 'mixed', 'resource', 'error']), kib: z.number().default(300) }),
  run: ({ what, kib }) => {
    const text = 'ä234567\n'.repeat((kib * KIB) / 9)
    if (what === 'text') return text
    const image = content.image(Buffer.alloc(kib * KIB * 0.75, 7), 'image/png', { annotations: { priority: 1 } })
    if (what === 'image') return image
    if (what === 'resource') return content.resource('file:///log.json', text, 'application/json')
    if (what === 'error') return content.result({ content: [content.text(text)], isError: true })
    return [content.text('small'), content.text(text), image, content.text('last')]
  },
})
const structured = defineTool({
  name: 'structured',
  description: 'Answers with a big object',
  output: z.object({ rows: z.array(z.string()) }),
  run: () => ({ rows: Array.from({ length: 40_000 }, (_, row) => `row ${row}`) }),
})
const never = defineTool({
  name: 'never',
  description: 'Keeps it whole',
  offloadBytes: false,
  run: () => 'x'.repeat(400 * KIB),
})
const early = defineTool({
  name: 'early',
  description: 'Offloads early',
  offloadBytes: 2000,
  run: () => 'x'.repeat(2001),
})
const server = defineServer({
  name: 'artifacts',
  version: '1.0.0',
  tools: [write, readBack, big, structured, never, early],
})

type Link = { type: string; uri: string; name: string; mimeType: string; size: number }
const linkOf = (client: TestClient, args: Record<string, unknown>): Promise<Link> =>
  client.callTool('write', args).then((result) => result.content[0] as unknown as Link)
const open = (options: Parameters<typeof connect>[1] = {}) =>
  connect(server, { ...options, runtime: { artifacts: `file:${dir}/artifacts`, ...options.runtime } })
const as = (subject: string, tenant?: string) => ({ principal: { subject, ...(tenant && { tenant }) } })

describe('what a handler puts', () => {
  test('is answered as a link, and read by resources/read: text as text, the rest as base64', async () => {
    await using client = await open()
    const text = await linkOf(client, { text: 'grüße' })
    expect(text).toEqual({
      type: 'resource_link',
      uri: expect.stringMatching(/^holdfast:\/\/artifact\/call\/[\w-]+\/[\w-]{22}$/),
      name: 'note.txt',
      mimeType: 'text/plain',
      size: 7,
    })
    expect(await client.readResource(text.uri)).toEqual([{ uri: text.uri, mimeType: 'text/plain', text: 'grüße' }])
    const json = await linkOf(client, { text: '{}', mimeType: 'application/problem+json', name: 'a.json' })
    expect(await client.readResource(json.uri)).toEqual([{ uri: json.uri, mimeType: json.mimeType, text: '{}' }])
    const binary = await linkOf(client, { text: '/wD+', base64: true, name: 'x.bin' })
    expect(await client.readResource(binary.uri)).toEqual([
      { uri: binary.uri, mimeType: 'application/octet-stream', blob: '/wD+' },
    ])
    const lying = await linkOf(client, { text: '/wD+', base64: true, mimeType: 'text/plain' })
    expect(await client.readResource(lying.uri)).toEqual([{ uri: lying.uri, mimeType: 'text/plain', blob: '/wD+' }])
  })

  test('is read by a handler, also a range of it', async () => {
    await using client = await open()
    const { uri } = await linkOf(client, { text: '0123456789' })
    const read = async (more = {}) => (await client.callTool('read', { uri, ...more })).text
    expect(await read()).toBe('note.txt 10: 0123456789')
    expect(await read({ from: 3, to: 5 })).toBe('note.txt 10: 34')
    expect(await read({ from: 8, to: 500 })).toBe('note.txt 10: 89')
    expect((await client.callTool('read', { uri, from: 10 })).isError).toBe(true)
    expect(await read({ uri: `${uri}x` })).toBe('none')
  })

  test('belongs to its owner: for others it does not exist, whatever they do with its URI', async () => {
    await using alice = await open(as('alice'))
    const { uri } = await linkOf(alice, { text: 'secret' })
    expect((await alice.readResource(uri))[0]).toMatchObject({ text: 'secret' })
    for (const other of [as('bob'), as('alice', 'elsewhere'), {}]) {
      await using client = await open(other)
      for (const tried of [
        uri,
        `${uri}/`,
        uri.replace('artifact/', 'artifact/../artifact/'),
        uri.toUpperCase(),
        `${uri}?`,
        `${uri}%00`,
      ])
        await expect(client.readResource(tried), tried).rejects.toMatchObject({ data: { code: 'resource_not_found' } })
      expect((await client.callTool('read', { uri })).text).toBe('none')
    }
    await using again = await open(as('alice'))
    expect((await again.readResource(uri))[0]).toMatchObject({ text: 'secret' })
  })

  test('of an anonymous caller is read by whoever has the URI, which can not be guessed', async () => {
    await using client = await open()
    const { uri } = await linkOf(client, { text: 'shared' })
    await using other = await open()
    expect((await other.readResource(uri))[0]).toMatchObject({ text: 'shared' })
    const uris = await Promise.all(
      Array.from({ length: 50 }, () => linkOf(client, { text: 'x' }).then((link) => link.uri)),
    )
    const ids = uris.map((one) => Buffer.from(one.slice(-22), 'base64url'))
    expect(ids.every((id) => id.length === 16)).toBe(true)
    expect(new Set(ids.map(String)).size).toBe(50)
  })

  test('may have any name; none of it becomes a path', async () => {
    await using client = await open()
    for (const name of ['../../../etc/passwd', '/abs', 'a\r\nX: y', 'nul\0', '漢字'.repeat(100), '\ud800', ' ', '..']) {
      const link = await linkOf(client, { text: 'x', name })
      expect(link.name).toBe(name.toWellFormed())
      expect(await client.readResource(link.uri)).toHaveLength(1)
    }
    for (const name of ['', 'x'.repeat(256)])
      expect((await client.callTool('write', { text: 'x', name })).isError).toBe(true)
    expect((await client.callTool('write', { text: 'x', mimeType: 'a\nb' })).isError).toBe(true)
    const files = readdirSync(dir, { recursive: true, encoding: 'utf8' })
    expect(
      files.filter((file) => !/^artifacts(\/(\.uploads|call(\/[\w-]+){0,2}(\/[\w-]{22}\.object)?))?$/.test(file)),
    ).toEqual([])
  })

  test('is kept as a link through a step that is replayed', async () => {
    let runs = 0
    const asking = defineTool({
      name: 'asking',
      description: 'Writes, then asks',
      async run(_args, ctx) {
        const link = await ctx.step('file', () => (runs++, ctx.artifacts.put('once', { name: 'a.txt' })))
        await ctx.elicit('go', { message: 'Go on?', schema: z.object({ ok: z.boolean() }) })
        return link
      },
    })
    await using client = await connect(defineServer({ name: 's', version: '1.0.0', tools: [asking] }), {
      answers: { go: { ok: true } },
    })
    const [link] = (await client.callTool('asking')).content
    expect(link).toMatchObject({ type: 'resource_link', name: 'a.txt', size: 4 })
    expect(await client.readResource((link as unknown as Link).uri)).toMatchObject([{ text: 'once' }])
    expect(runs).toBe(1)
  })

  test('is refused beyond maxArtifactBytes, and nothing is left of it', async () => {
    await using client = await open({ runtime: { maxArtifactBytes: 1000 } })
    expect((await client.callTool('write', { text: 'x'.repeat(100), repeat: 10 })).isError).toBe(false)
    expect((await client.callTool('write', { text: 'x'.repeat(100), repeat: 11 })).isError).toBe(true)
    expect(readdirSync(join(dir, 'artifacts/.uploads'))).toEqual([])
  })
})

describe('resources/read of a big artifact', () => {
  test('answers with an error that names its size, and says nothing of a download where there is none', async () => {
    await using client = await open({ runtime: { maxArtifactReadBytes: 1000 } })
    const fits = await linkOf(client, { text: 'x'.repeat(1000) })
    expect(await client.readResource(fits.uri)).toHaveLength(1)
    const { uri } = await linkOf(client, { text: 'x'.repeat(1001) })
    const error = await client.readResource(uri).catch((thrown: RpcError) => thrown as RpcError)
    expect(error).toMatchObject({ code: -32602, data: { code: 'artifact_too_large', size: 1001, maxBytes: 1000, uri } })
    expect((error as RpcError).data).not.toHaveProperty('url')
  })
})

describe('a result that is too big for a message', () => {
  const call = async (name: string, args = {}, revision: Revision = '2026-07-28') => {
    await using client = await open({ revision })
    const result = await client.callTool(name, args)
    const links = result.content.filter((block) => block.type === 'resource_link') as unknown as Link[]
    const contents = await Promise.all(links.map(async ({ uri }) => (await client.readResource(uri))[0]!))
    return { ...result, links, contents }
  }

  test.each(['2026-07-28', '2025-11-25', '2025-06-18'] as const)(
    'is offloaded in %s: a text keeps its beginning',
    async (revision) => {
      const { content: blocks, links, contents } = await call('big', { what: 'text' }, revision)
      const whole = 'ä234567\n'.repeat((300 * KIB) / 9)
      expect(blocks).toHaveLength(2)
      const preview = blocks[0] as { text: string }
      expect(preview.text.startsWith(whole.slice(0, 1000))).toBe(true)
      expect(preview.text.length).toBeLessThan(1300)
      expect(preview.text).toContain(links[0]!.uri)
      expect(links[0]).toMatchObject({ name: 'big-1.txt', mimeType: 'text/plain', size: Buffer.byteLength(whole) })
      expect(contents[0]).toMatchObject({ text: whole })
    },
  )

  test('stays whole for clients of 2025-03-26, which know no links', async () => {
    await using client = await open({ revision: '2025-03-26' })
    const { content: blocks } = await client.callTool('big', { what: 'text' })
    expect(blocks).toHaveLength(1)
    expect((blocks[0] as { text: string }).text.length).toBeGreaterThan(250 * KIB)
  })

  test('of 256 KiB or less stays as it is', async () => {
    expect((await call('big', { what: 'text', kib: 255 })).links).toEqual([])
    expect((await call('big', { what: 'image', kib: 256 })).links).toEqual([])
  })

  test('loses its biggest blocks alone, in their places; pictures become links with their type and annotations', async () => {
    const image = await call('big', { what: 'image' })
    expect(image.content).toMatchObject([
      { type: 'resource_link', mimeType: 'image/png', size: 225 * KIB, annotations: { priority: 1 } },
    ])
    expect(image.contents[0]).toEqual({
      uri: image.links[0]!.uri,
      mimeType: 'image/png',
      blob: Buffer.alloc(225 * KIB, 7).toString('base64'),
    })
    const mixed = await call('big', { what: 'mixed', kib: 200 })
    expect(mixed.content.map(({ type }) => type)).toEqual(['text', 'text', 'resource_link', 'text'])
    expect(mixed.content[0]).toMatchObject({ text: 'small' })
    expect(mixed.content[3]).toMatchObject({ text: 'last' })
    const both = await call('big', { what: 'mixed', kib: 600 })
    expect(both.content.map(({ type }) => type)).toEqual(['text', 'text', 'resource_link', 'resource_link', 'text'])
  })

  test('that is an embedded resource, or an error, is offloaded as well', async () => {
    const resource = await call('big', { what: 'resource' })
    expect(resource.links[0]).toMatchObject({ mimeType: 'application/json', description: 'file:///log.json' })
    const error = await call('big', { what: 'error' })
    expect(error.isError).toBe(true)
    expect(error.links).toHaveLength(1)
  })

  test('keeps its structured content, whatever its size', async () => {
    const { structuredContent, links } = await call('structured')
    expect((structuredContent as { rows: string[] }).rows).toHaveLength(40_000)
    expect(links).toHaveLength(1)
  })

  test('follows the setting of its tool', async () => {
    expect((await call('never')).links).toEqual([])
    expect((await call('early')).links).toHaveLength(1)
  })

  test('is sent whole where the store fails: a result is not lost for that', async () => {
    let fault: OperationFault | undefined = 'error-before'
    const store = new FaultyArtifactStore(new MemoryArtifactStore(systemClock), () => fault)
    await using client = await open({ runtime: { artifacts: store } })
    const whole = await client.callTool('big', { what: 'text' })
    expect(whole.content).toHaveLength(1)
    expect(whole.text.length).toBeGreaterThan(250 * KIB)
    expect((await client.runtime.metrics()).body).toMatch(/^holdfast_artifacts_total\{event="not_offloaded"\} 1$/m)
    fault = undefined
    expect((await client.callTool('big', { what: 'text' })).content).toHaveLength(2)
  })
})

describe('where nodes share their state and no artifact store is set', () => {
  test('a put fails with what is to be set, big results stay whole, and the server serves', async () => {
    const failures: unknown[] = []
    const tool = defineTool({
      name: 'try',
      description: 'Tries to put',
      run: (_args, ctx) =>
        ctx.artifacts.put('x', { name: 'x' }).catch((error: Error) => (failures.push(error), 'failed')),
    })
    const runtime = await createRuntime(defineServer({ name: 's', version: '1.0.0', tools: [tool, never, early] }), {
      dataDir: false,
      logLevel: 'silent',
      state: 'redis://127.0.0.1:1',
      keys: `k1:${randomBytes(32).toString('base64')}`,
    })
    try {
      const call = async (name: string) => {
        const response = await runtime.fetch(
          new Request('http://localhost/mcp', {
            method: 'POST',
            headers: {
              'content-type': 'application/json',
              accept: 'application/json, text/event-stream',
              'mcp-protocol-version': '2026-07-28',
              'mcp-method': 'tools/call',
              'mcp-name': name,
            },
            body: JSON.stringify({
              jsonrpc: '2.0',
              id: 1,
              method: 'tools/call',
              params: {
                name,
                _meta: {
                  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
                  'io.modelcontextprotocol/clientCapabilities': {},
                },
              },
            }),
          }),
        )
        return ((await response.json()) as { result: { content: unknown[] } }).result.content
      }
      await call('try')
      expect(failures).toMatchObject([
        { code: 'invalid_option', message: expect.stringContaining('HOLDFAST_ARTIFACTS_URL') },
      ])
      expect(await call('early')).toHaveLength(1)
    } finally {
      await runtime.close()
    }
  })
})

test('nothing is made in the data folder before something is put', async () => {
  await using client = await connect(server, { runtime: { dataDir: dir } })
  await client.callTool('early', {}) // 2,001 bytes
  expect(readdirSync(dir).toSorted()).toEqual(['artifacts', 'keys'])
  rmSync(join(dir, 'artifacts'), { recursive: true })
  await client.callTool('never')
  await client.readResource('holdfast://artifact/call/x/AAAAAAAAAAAAAAAAAAAAAA').catch(() => undefined)
  expect(readdirSync(dir)).toEqual(['keys'])
})

test('a store of the user’s own is used whatever the environment says, and is not closed', async () => {
  const store = openFileArtifacts(`file:${dir}/own`, systemClock)
  {
    await using client = await connect(server, { runtime: { artifacts: store } })
    await linkOf(client, { text: 'x' })
  }
  expect((await store.list('call/')).objects).toHaveLength(1)
  await store.close()
})
