import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import * as z from 'zod'
import { createApiKey } from '../../src/auth/api-keys.ts'
import { defineServer, defineTool, type Runtime } from '../../src/index.ts'
import { Issuer } from '../auth/issuer.ts'
import { bearer, serve } from '../auth/serving.ts'
import { overHttp, TasksClient } from '../support/tasks-client.ts'

// Who a task runs for lies in the store for as long as the task does. A token would be worth stealing there; who they are is
// theirs alone.

const SUBJECT = 'ada-lovelace-7c1d'
const TENANT = 'acme-tenant-19f3'
const CLIENT_ID = 'desk-app-55e0'
let folder: string
let issuer: Issuer
let runtime: Runtime
let url: string
const api = createApiKey({ subject: 'robot-4b2a' })
const seen: unknown[] = []
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'holdfast-caller-'))
  issuer = await new Issuer().start()
  const review = defineTool({
    name: 'review',
    description: 'Asks, fails once, and ends',
    task: { maxAttempts: 2, maxBackoffMs: 1, retryable: () => true },
    async run(_args, ctx) {
      await ctx.step('first', () => 'on-record-8e77')
      const { action } = await ctx.elicit('keep', { message: 'Keep it?', schema: z.object({}) })
      if (seen.push(ctx.principal) % 2 === 1) throw new Error('Not yet.')
      return action
    },
  })
  ;({ runtime, url } = await serve(
    () => ({
      dataDir: folder,
      tasks: `sqlite:${folder}/tasks.db`,
      auth: { issuer: issuer.url, tenantClaim: 'org', apiKeys: [api.entry] },
    }),
    defineServer({ name: 'callers', version: '1.0.0', tools: [review] }),
  ))
})
afterAll(async () => {
  await runtime?.close()
  await issuer?.stop()
  rmSync(folder, { recursive: true, force: true })
})

/** Every byte that the server keeps. */
const stored = (): string =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => readFileSync(join(entry.parentPath, entry.name)).toString('latin1'))
    .join('\n')

async function runWith(credential: string): Promise<void> {
  const client = new TasksClient(overHttp(url, undefined, bearer(credential)))
  const id = await client.start('review')
  await client.wait(id, 'input_required')
  await client.update(id, { keep: { action: 'accept', content: {} } })
  expect(await client.wait(id)).toMatchObject({ status: 'completed', result: { content: [{ text: 'accept' }] } })
}

test('nothing that the store keeps of a task holds a token, or says who called; the worker knows', async () => {
  const token = await issuer.token(url, { claims: { sub: SUBJECT, org: TENANT, client_id: CLIENT_ID } })
  await runWith(token)
  await runWith(api.key)
  expect(seen).toEqual([
    expect.objectContaining({ subject: SUBJECT, tenant: TENANT }),
    expect.objectContaining({ subject: SUBJECT, tenant: TENANT }),
    expect.objectContaining({ subject: 'robot-4b2a' }),
    expect.objectContaining({ subject: 'robot-4b2a' }),
  ])
  const bytes = stored()
  expect(bytes).toContain('on-record-8e77') // the rows are there to be read
  const forms = (text: string): string[] => [text, ...['base64', 'base64url', 'hex'].map((as) => Buffer.from(text).toString(as as 'hex'))] // prettier-ignore
  const secrets = [
    ...token.split('.'),
    api.key,
    api.key.slice(-43),
    SUBJECT,
    TENANT,
    CLIENT_ID,
    'robot-4b2a',
    issuer.url,
  ]
  for (const secret of secrets)
    for (const form of forms(secret)) expect(bytes.includes(form), `the store holds ${secret}`).toBe(false)
})
