// Blocks of the pages on what lies outside: dependencies, caches, models. See run.test.ts for the others.
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { pathToFileURL } from 'node:url'
import type { Pool } from 'pg'
import { createRuntime, defineServer, type Context } from 'holdfast'
import { expect, test } from 'vitest'
import { sharedServer } from '../servers/shared.ts'
import { blockRunner } from './run-blocks.ts'

const { use, pathOf, client } = blockRunner('docs-outside')

use('docs/resilience.md', 'server.ts')
test('resilience: a lookup is repeated, and its dependency is left alone while it is down', async () => {
  const answers = [503, 200, 404]
  const crm = createServer((request, response) => {
    response.writeHead(answers.shift() ?? 500).end(`customer at ${request.url}`)
  }).listen(0, '127.0.0.1')
  await once(crm, 'listening')
  process.env.CRM_URL = `http://127.0.0.1:${(crm.address() as AddressInfo).port}`
  try {
    await using served = await client('docs/resilience.md', 'server.ts')
    const look = (): Promise<string> => served.callTool('customer', { number: '7/1' }).then(({ text }) => text)
    expect(await look()).toBe('customer at /customers/7%2F1')
    expect(await look()).toBe('There is no customer 7/1.')
    for (let call = 0; call < 2; call++) expect(await look()).toContain('failed unexpectedly')
    expect(await look()).toMatch(/^crm is not available now: too many calls of it have failed\. Try again in [45] s\./)
  } finally {
    delete process.env.CRM_URL
    crm.closeAllConnections()
    crm.close()
  }
})

use('docs/resilience.md', 'crm.ts', 'llm.ts', 'database.ts')
test('resilience: a note is added once though its first answer is lost, a score is left out, a model and a database are asked again', async () => {
  const asked: { key: unknown; url: string; body: string }[] = []
  const api = createServer((request, response) => {
    let body = ''
    request.on('data', (chunk: Buffer) => (body += chunk.toString()))
    request.on('end', () => {
      const { url = '', headers } = request
      asked.push({ key: headers['idempotency-key'], url, body })
      const isFirst = asked.filter((one) => one.url === url).length === 1
      if (isFirst && url.endsWith('/notes')) request.socket.resetAndDestroy()
      else if (isFirst && url.endsWith('/completions')) response.writeHead(503).end()
      else if (url.startsWith('/scores')) response.writeHead(500).end()
      else {
        const choices = [{ index: 0, message: { role: 'assistant', content: 'Short.' }, finish_reason: 'stop' }]
        response.setHeader('content-type', 'application/json')
        response.end(JSON.stringify({ id: '1', object: 'chat.completion', created: 1, model: 'small', choices }))
      }
    })
  }).listen(0, '127.0.0.1')
  await once(api, 'listening')
  const url = `http://127.0.0.1:${(api.address() as AddressInfo).port}`
  const postgres = (await sharedServer('postgres')).url
  Object.assign(process.env, { CRM_URL: url, SCORES_URL: url, LLM_URL: url, ORDERS_URL: postgres })
  const load = async <T>(file: string): Promise<T> =>
    (await import(pathToFileURL(pathOf('docs/resilience.md', file)).href)) as T
  type Crm = {
    addNote(customer: string, text: string): Promise<void>
    score(ctx: Context, customer: string): Promise<unknown>
  }
  type Database = { pool: Pool; countOrders(ctx: Context, customer: string): Promise<number> }
  const { addNote, score } = await load<Crm>('crm.ts')
  const { summarize } = await load<{ summarize(text: string): Promise<string> }>('llm.ts')
  const { pool, countOrders } = await load<Database>('database.ts')
  const runtime = await createRuntime(defineServer({ name: 'set', version: '1.0.0' }), {
    dataDir: false,
    logLevel: 'silent',
  })
  const ctx = { use: runtime.use } as Context
  try {
    await addNote('7', 'called')
    const notes = asked.filter((one) => one.url.endsWith('/notes'))
    expect(notes).toHaveLength(2)
    expect(notes[1]).toEqual(notes[0])
    expect(notes[0]!.key).toMatch(/.{36}/)
    expect(await score(ctx, '7')).toBeUndefined()
    expect(await summarize('A long text.')).toBe('Short.')
    expect(asked.filter((one) => one.url.endsWith('/completions'))).toHaveLength(2)
    await pool.query('CREATE TEMPORARY TABLE orders (customer text)')
    await pool.query("INSERT INTO orders VALUES ('7'), ('7'), ('8')")
    expect(await countOrders(ctx, '7')).toBe(2)
    expect(runtime.dependencies.list().map(({ name }) => name)).toEqual(['scores', 'orders-db'])
  } finally {
    for (const name of ['CRM_URL', 'SCORES_URL', 'LLM_URL', 'ORDERS_URL']) delete process.env[name]
    await runtime.close()
    await pool.end()
    api.closeAllConnections()
    api.close()
  }
})

use('docs/caching.md', 'server.ts', 'server.test.ts', 'both.ts')
test('caching: what is computed once is given to others; a step belongs to one task', async () => {
  await using shop = await client('docs/caching.md', 'server.ts')
  const { api } = (await import(pathToFileURL(pathOf('docs/caching.md', 'server.ts')).href)) as {
    api: { calls: number }
  }
  const before = api.calls
  const summary = async (): Promise<string> => (await shop.callTool('summary', { customer: 'ada' })).text
  expect([await summary(), await summary()]).toEqual(['1 orders, 120 in all', '1 orders, 120 in all'])
  expect(api.calls - before).toBe(3) // the orders twice, the summary once
  expect(await shop.request('resources/read', { uri: 'shop://terms' })).toMatchObject({ cacheScope: 'public' })
  await using digests = await client('docs/caching.md', 'both.ts')
  const send = async (reader: string): Promise<string> =>
    (await digests.callTool('digest', { text: 'abc', reader })).text
  expect([await send('ada'), await send('bob')]).toEqual(['ada: 1 3', 'bob: 1 3'])
  const { counts } = (await import(pathToFileURL(pathOf('docs/caching.md', 'both.ts')).href)) as {
    counts: { embedded: number; sent: number }
  }
  expect(counts).toEqual({ embedded: 1, sent: 2 })
})

use('docs/llm-cost.md', 'server.ts')
test('LLM cost: what a model has answered is not asked again, and what that spares is counted', async () => {
  const asked: string[] = []
  const endpoint = createServer((request, response) => {
    void (async () => {
      const { input, messages } = (await new Response(request as unknown as ReadableStream).json()) as {
        input?: string[]
        messages?: { content: string }[]
      }
      asked.push(...(input ?? ['summary']))
      response.setHeader('content-type', 'application/json')
      const message = { role: 'assistant', content: `${messages?.[0]?.content.length} characters` }
      const answer =
        input === undefined
          ? { choices: [{ index: 0, message, finish_reason: 'stop' }] }
          : { data: input.map((text, index) => ({ index, embedding: [text.length, 1] })) }
      response.end(
        JSON.stringify({
          model: 'm',
          ...answer,
          usage: { prompt_tokens: 400, completion_tokens: 20, total_tokens: 420 },
        }),
      )
    })()
  }).listen(0, '127.0.0.1')
  await once(endpoint, 'listening')
  process.env.LLM_URL = `http://127.0.0.1:${(endpoint.address() as AddressInfo).port}/v1`
  try {
    await using texts = await client('docs/llm-cost.md', 'server.ts', { principal: { subject: 'ada' } })
    for (let time = 0; time < 3; time++)
      expect((await texts.callTool('summarize', { text: 'a long text' })).text).toBe('34 characters')
    const near = async (...all: string[]): Promise<string> =>
      (await texts.callTool('nearest', { question: 'which?', texts: all })).text
    expect(await near('ab', 'abcd')).toBe('abcd')
    expect(await near('abcd', 'abc')).toBe('abcd')
    expect(asked).toEqual(['summary', 'which?', 'ab', 'abcd', 'abc'])
    const { body } = await texts.runtime.metrics()
    // 400 tokens at 0.25 and 20 at 2 dollars a million, spared twice.
    expect(body).toContain('holdfast_llm_cost_total{model="small",currency="USD",source="cached"} 0.00028')
    expect(await texts.callTool('summarize', { text: 'x'.repeat(40_001) })).toMatchObject({ isError: true })
  } finally {
    delete process.env.LLM_URL
    endpoint.closeAllConnections()
    endpoint.close()
  }
})
