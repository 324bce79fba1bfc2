import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { get, request as httpRequest, type IncomingMessage } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import express from 'express'
import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import * as z from 'zod'
import { Artifacts } from '../../src/artifacts/artifacts.ts'
import { download } from '../../src/artifacts/download.ts'
import { LINK_TTL_MS } from '../../src/artifacts/links.ts'
import { MemoryArtifactStore } from '../../src/backends/memory/artifact-store.ts'
import { createRuntime, defineServer, defineTool, type Runtime, type RuntimeOptions } from '../../src/index.ts'
import { createKeyRing, generateKeys } from '../../src/kernel/key-ring.ts'
import { FakeClock } from '../../src/testing/index.ts'
import { S3_CREDENTIALS } from '../servers/versitygw.ts'
import { sharedServer } from '../servers/shared.ts'
import { given } from '../servers/catalog.ts'

if (given('s3') === undefined) {
  vi.stubEnv('AWS_ACCESS_KEY_ID', S3_CREDENTIALS.accessKeyId)
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', S3_CREDENTIALS.secretAccessKey)
}
const s3 = await sharedServer('s3')
const dir = mkdtempSync(join(tmpdir(), 'holdfast-artifacts-'))
afterAll(() => rmSync(dir, { recursive: true }))

const write = defineTool({
  name: 'write',
  description: 'Writes an artifact of digits',
  input: z.object({
    bytes: z.number(),
    name: z.string().default('digits.txt'),
    mimeType: z.string().default('text/plain'),
  }),
  async run({ bytes, name, mimeType }, ctx) {
    async function* digits() {
      const block = Buffer.from('0123456789'.repeat(10_000))
      for (let left = bytes; left > 0; left -= block.length) yield block.subarray(0, Math.min(left, block.length))
    }
    return ctx.artifacts.put(digits(), { name, mimeType })
  },
})
const server = defineServer({ name: 'downloads', version: '1.0.0', tools: [write] })

let clock: FakeClock
let runtime: Runtime
let url: string
let closing: Runtime[] = []
beforeEach(async () => {
  clock = new FakeClock()
  ;({ runtime, url } = await serve())
})
afterEach(async () => {
  // Its clock stands still, so what waits for it is helped on.
  await Promise.all(closing.map((one) => one.close()))
  closing = []
})

async function serve(options: RuntimeOptions = {}): Promise<{ runtime: Runtime; url: string }> {
  const runtime = await createRuntime(server, {
    dataDir: dir,
    logLevel: 'silent',
    maxArtifactReadBytes: 100,
    ...options,
  })
  closing.push(runtime)
  return { runtime, url: (await runtime.listen({ port: 0 })).url }
}

async function rpc(
  to: string | ((request: Request) => Promise<Response>),
  method: string,
  params: object,
): Promise<any> {
  const name = (params as { name?: string; uri?: string }).name ?? (params as { uri?: string }).uri!
  const init = {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'mcp-protocol-version': '2026-07-28',
      'mcp-method': method,
      'mcp-name': name,
    },
    body: JSON.stringify({
      jsonrpc: '2.0',
      id: 1,
      method,
      params: {
        ...params,
        _meta: {
          'io.modelcontextprotocol/protocolVersion': '2026-07-28',
          'io.modelcontextprotocol/clientCapabilities': {},
        },
      },
    }),
  }
  const response = typeof to === 'string' ? await fetch(to, init) : await to(new Request('http://localhost/mcp', init))
  return response.json()
}

/** Writes an artifact, and asks to read it; resolves to where it can be downloaded. */
async function linkTo(endpoint: Parameters<typeof rpc>[0], args: object): Promise<{ url: string; data: any }> {
  const written = await rpc(endpoint, 'tools/call', { name: 'write', arguments: args })
  const [{ uri }] = written.result.content
  const { error } = await rpc(endpoint, 'resources/read', { uri })
  const base = typeof endpoint === 'string' ? endpoint : 'http://localhost/mcp'
  return { url: new URL(error.data.url, base).href, data: error.data }
}

describe('an artifact that is too big to be read at once', () => {
  test('is downloaded by the link in the error, whole, with its type and name', async () => {
    const link = await linkTo(url, { bytes: 1_234_567, name: 'Zähl "1".txt' })
    expect(link.data).toMatchObject({ code: 'artifact_too_large', size: 1_234_567, mimeType: 'text/plain' })
    expect(Date.parse(link.data.urlExpiresAt)).toBeGreaterThan(Date.now())
    const response = await fetch(link.url)
    const text = await response.text()
    expect(text.length).toBe(1_234_567)
    expect(text.slice(0, 20)).toBe('01234567890123456789')
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'content-type': 'text/plain',
      'content-length': '1234567',
      'content-disposition': `attachment; filename="Z_hl _1_.txt"; filename*=UTF-8''Z%C3%A4hl%20%221%22.txt`,
      'accept-ranges': 'bytes',
      'x-content-type-options': 'nosniff',
      'content-security-policy': "sandbox; default-src 'none'",
    })
    expect((await runtime.metrics()).body).toMatch(/^holdfast_artifacts_total\{event="downloaded"\} 1$/m)
  })

  test('is downloaded by ranges, as RFC 9110 has them', async () => {
    const link = await linkTo(url, { bytes: 1000 })
    const head = await fetch(link.url, { method: 'HEAD' })
    expect([head.status, head.headers.get('content-length'), await head.text()]).toEqual([200, '1000', ''])
    const etag = head.headers.get('etag')!
    const rows: [headers: Record<string, string>, status: number, range: string | null, text: string | undefined][] = [
      [{ range: 'bytes=0-0' }, 206, 'bytes 0-0/1000', '0'],
      [{ range: 'bytes=995-' }, 206, 'bytes 995-999/1000', '56789'],
      [{ range: 'bytes=995-123456' }, 206, 'bytes 995-999/1000', '56789'],
      [{ range: 'bytes=-3' }, 206, 'bytes 997-999/1000', '789'],
      [{ range: 'bytes=-5000' }, 206, 'bytes 0-999/1000', '0123456789'.repeat(100)],
      [{ range: 'bytes=1000-' }, 416, 'bytes */1000', ''],
      [{ range: 'bytes=999999999999999-' }, 416, 'bytes */1000', ''],
      [{ range: 'bytes=-0' }, 416, 'bytes */1000', ''],
      [{ range: 'bytes=5-2' }, 200, null, undefined],
      [{ range: 'bytes=0-1,5-6' }, 200, null, undefined],
      [{ range: 'lines=0-1' }, 200, null, undefined],
      [{ range: 'bytes=a-b' }, 200, null, undefined],
      [{ range: `bytes=${'9'.repeat(400)}-` }, 200, null, undefined],
      [{ range: 'bytes=0-1', 'if-range': etag }, 206, 'bytes 0-1/1000', '01'],
      [{ range: 'bytes=0-1', 'if-range': '"another"' }, 200, null, undefined],
      [{ 'if-none-match': etag }, 304, null, ''],
    ]
    for (const [headers, status, range, text = '0123456789'.repeat(100)] of rows) {
      const response = await fetch(link.url, { headers })
      expect(
        [response.status, response.headers.get('content-range'), await response.text()],
        JSON.stringify(headers),
      ).toEqual([status, range, text])
    }
  })

  test('may be empty; then no range of it can be had', async () => {
    const artifacts = new Artifacts({
      open: async () => new MemoryArtifactStore(clock),
      maxArtifactBytes: 1,
      keys: createKeyRing(generateKeys()),
      clock,
      endpoint: () => '',
      onUsed: () => undefined,
    })
    const info = await artifacts.put({ owner: 'o', requestId: 'r' }, '', { name: 'empty', mimeType: 'text/plain' })
    const link = (await artifacts.urlOf(info))!.url.replace('/artifacts/', '')
    const ask = (range?: string) =>
      download(artifacts, { method: 'GET', link, header: (name) => (name === 'range' ? range : undefined) })
    const whole = await ask()
    expect([whole!.status, whole!.headers['content-length'], await new Response(whole!.body).text()]).toEqual([
      200,
      '0',
      '',
    ])
    for (const range of ['bytes=0-', 'bytes=-1']) expect(await ask(range)).toMatchObject({ status: 416 })
    await artifacts.close()
  })
})

describe('a link', () => {
  test('is good on every node with the same keys and store, for a quarter of an hour', async () => {
    const keys = `k1:${Buffer.alloc(32, 1).toString('base64')}`
    const artifacts = `file:${dir}/shared`
    const { url: here } = await serve({ keys, artifacts, clock })
    const { url: there } = await serve({ keys, artifacts, clock })
    const link = await linkTo(here, { bytes: 1000 })
    const elsewhere = link.url.replace(new URL(here).host, new URL(there).host)
    expect((await fetch(elsewhere)).status).toBe(200)
    await clock.advance(LINK_TTL_MS - 1)
    expect((await fetch(elsewhere)).status).toBe(200)
    await clock.advance(1)
    const late = await fetch(elsewhere)
    expect(late.status).toBe(404)
    expect(await late.json()).toMatchObject({ error: { data: { code: 'not_found' } } })
  })

  test('that was changed, or made by other keys, or of an artifact that has gone, leads nowhere', async () => {
    const link = await linkTo(url, { bytes: 1000 })
    for (let at = link.url.lastIndexOf('/') + 1; at < link.url.length; at += 7) {
      const changed = link.url[at] === 'A' ? 'B' : 'A'
      const response = await fetch(link.url.slice(0, at) + changed + link.url.slice(at + 1))
      expect(response.status, `at ${at}`).toBe(404)
      await response.body?.cancel()
    }
    const { url: stranger } = await serve({ keys: `k1:${Buffer.alloc(32, 9).toString('base64')}` })
    expect((await fetch(link.url.replace(new URL(url).host, new URL(stranger).host))).status).toBe(404)
    rmSync(join(dir, 'artifacts'), { recursive: true })
    expect((await fetch(link.url)).status).toBe(404)
  })

  test('asks for an allowed Host and Origin, and for GET or HEAD', async () => {
    const link = await linkTo(url, { bytes: 1000 })
    const status = async (options: object): Promise<number | undefined> => {
      const asked = httpRequest(link.url, { agent: false, ...options })
      asked.end()
      const [response] = (await once(asked, 'response')) as [IncomingMessage]
      response.resume()
      await once(response, 'close')
      return response.statusCode
    }
    expect(await status({})).toBe(200)
    expect(await status({ headers: { host: 'evil.example' } })).toBe(403)
    expect(await status({ headers: { origin: 'https://evil.example' } })).toBe(403)
    expect(await status({ method: 'DELETE' })).toBe(405)
    const allowed = await fetch(link.url, { headers: { origin: 'http://localhost:5173' } })
    expect(allowed.headers.get('access-control-allow-origin')).toBe('http://localhost:5173')
    await allowed.body?.cancel()
  })

  test('names the public URL where that is set', async () => {
    const { url: there } = await serve({ publicUrl: 'https://mcp.example/tools/' })
    const link = await linkTo(there, { bytes: 1000 })
    expect(link.data.url).toMatch(/^https:\/\/mcp\.example\/tools\/artifacts\/k1\.[\w-]+$/)
  })

  test('works inside frameworks, under whatever path the handler is mounted', async () => {
    const { runtime: mounted } = await serve({ publicUrl: 'http://localhost/api/mcp' })
    const link = await linkTo(mounted.fetch, { bytes: 1000 })
    const part = await mounted.fetch(new Request(link.url, { headers: { range: 'bytes=1-3' } }))
    expect([part.status, await part.text()]).toEqual([206, '123'])
    const dead = await mounted.fetch(new Request(link.url.replace('/k1.', '/k2.')))
    expect(dead.status).toBe(404)
    const app = express()
    app.use('/api/mcp', mounted.nodeHandler)
    const listener = app.listen(0)
    await once(listener, 'listening')
    const { port } = listener.address() as { port: number }
    const response = await fetch(link.url.replace('http://localhost', `http://127.0.0.1:${port}`))
    expect([response.status, (await response.text()).length]).toEqual([200, 1000])
    listener.close()
    listener.closeAllConnections()
  })

  test('counts for the limits of its address', async () => {
    const { url: limited } = await serve({ limits: [{ per: 'principal', limit: 3, windowMs: 60_000 }] })
    const link = await linkTo(limited, { bytes: 1000 })
    expect((await fetch(link.url)).status).toBe(200)
    const refused = await fetch(link.url)
    expect(refused.status).toBe(429)
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0)
  })
})

test('a client that goes away in the middle leaves nothing behind, and one that reads slowly gets everything', async () => {
  const link = await linkTo(url, { bytes: 30_000_000 })
  for (let round = 0; round < 5; round++) {
    const asked = get(link.url, { agent: false })
    const [response] = (await once(asked, 'response')) as [IncomingMessage]
    await once(response, 'data')
    response.destroy()
  }
  const response = await fetch(link.url)
  let length = 0
  for await (const piece of response.body!) {
    length += piece.length
    if (length % 5 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  expect(length).toBe(30_000_000)
})

test('a store with signed URLs of its own serves the download: the link leads there', async () => {
  const { url: there } = await serve({ artifacts: s3.url.replace('?', `/download-${process.pid}?`) })
  const link = await linkTo(there, { bytes: 1_000_000, name: 'Zähl.txt' })
  expect(link.url).toContain('X-Amz-Signature=')
  expect(new URL(link.url).origin).toBe(new URL(decodeURIComponent(/endpoint=([^&]+)/.exec(s3.url)![1]!)).origin)
  const response = await fetch(link.url, { headers: { range: 'bytes=5-8' } })
  expect([response.status, await response.text()]).toEqual([206, '5678'])
  expect(response.headers.get('content-disposition')).toBe("attachment; filename*=UTF-8''Z%C3%A4hl.txt")
})
