import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createApiKey, type ApiKeyEntry } from '../../src/auth/api-keys.ts'
import type { Runtime, RuntimeOptions } from '../../src/index.ts'
import { FakeClock } from '../../src/testing/index.ts'
import { CLI } from '../conformance/server.ts'
import { bearer, call, principalOf, serve } from './serving.ts'

let folder: string
let file: string
let clock: FakeClock
let runtime: Runtime | undefined
let url: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'holdfast-keys-'))
  file = join(folder, 'api-keys.json')
  clock = new FakeClock()
})
afterEach(async () => {
  await runtime?.close()
  runtime = undefined
  rmSync(folder, { recursive: true, force: true })
})
async function start(apiKeys: string | ApiKeyEntry[], more: RuntimeOptions['auth'] = {}): Promise<void> {
  ;({ runtime, url } = await serve(() => ({ clock, auth: { apiKeys, ...more } })))
}
const status = async (key: string): Promise<number> => (await call(url, { 'x-api-key': key })).status
const keep = (...entries: ApiKeyEntry[]): void => writeFileSync(file, JSON.stringify(entries))

describe('an API key', () => {
  test('stands for the subject, tenant and scopes of its entry', async () => {
    const { key, entry } = createApiKey({ subject: 'robot', tenant: 'acme', scopes: ['admin'] })
    await start([entry], { impliedScopes: { admin: ['read'] } })
    const principal = { issuer: 'api-key', subject: 'robot', tenant: 'acme', scopes: ['admin', 'read'] }
    for (const headers of [{ 'x-api-key': key }, bearer(key)])
      expect(principalOf(await call(url, headers))).toEqual(principal)
  })

  test('is kept as a hash that does not give it away', () => {
    const { key, entry } = createApiKey({ subject: 'robot' })
    expect(key).toMatch(/^hf_[0-9a-f]{16}_[\w-]{43}$/)
    expect(JSON.stringify(entry)).not.toContain(key.slice(-43))
    expect(createApiKey({ subject: 'robot' }).key).not.toBe(key)
  })

  test.each<[string, (key: string) => string]>([
    ['another secret', (key) => key.replace(/.{4}$/, 'AAAA')],
    ['another id', (key) => key.replace(/^hf_.{4}/, 'hf_zzzz')],
    ['no secret', (key) => key.split('_').slice(0, 2).join('_')],
    ['more behind it', (key) => `${key}x`],
    ['another case', (key) => key.toUpperCase()],
    ['its hash', () => createApiKey({ subject: 'x' }).entry.hash],
  ])('with %s is refused, in the same words each time', async (_what, change) => {
    const { key, entry } = createApiKey({ subject: 'robot' })
    await start([entry])
    const reply = await call(url, { 'x-api-key': change(key) })
    expect([reply.status, reply.challenge]).toEqual([
      401,
      'Bearer error="invalid_token", error_description="There is no such API key."',
    ])
  })

  test('ends when its entry says', async () => {
    const { key, entry } = createApiKey({ subject: 'x', expiresAt: new Date(clock.now() + 60_000).toISOString() })
    await start([entry])
    expect(await status(key)).toBe(200)
    await clock.advance(60_000)
    expect(await status(key)).toBe(401)
  })

  test('is not accepted where there are none', async () => {
    ;({ runtime, url } = await serve(() => ({ auth: { authenticate: () => undefined } })))
    expect(await status(createApiKey({ subject: 'x' }).key)).toBe(401)
  })
})

describe('a file of API keys', () => {
  test('is read again when it changes: keys are given and taken back without a restart', async () => {
    const [one, two] = [createApiKey({ subject: 'one' }), createApiKey({ subject: 'two' })]
    keep(one.entry)
    await start(file)
    expect([await status(one.key), await status(two.key)]).toEqual([200, 401])
    keep(two.entry)
    await clock.advance(2000)
    expect([await status(one.key), await status(two.key)]).toEqual([401, 200])
  })

  test('that is broken for a while leaves the keys as they were', async () => {
    const { key, entry } = createApiKey({ subject: 'one' })
    keep(entry)
    await start(file)
    writeFileSync(file, '[{')
    await clock.advance(2000)
    expect(await status(key)).toBe(200)
    rmSync(file)
    await clock.advance(2000)
    expect(await status(key)).toBe(200)
    keep()
    await clock.advance(2000)
    expect(await status(key)).toBe(401)
  })

  test.each<[string, string, RegExp]>([
    ['no JSON', '[{', /JSON/],
    ['no array', '{}', /array/],
    ['no id', '[{}]', /Entry 0 .*`id`/],
    ['no hash', '[{"id":"abcdefgh","hash":"secret","subject":"x"}]', /`hash`/],
    ['no subject', `[{"id":"abcdefgh","hash":"${'0'.repeat(64)}"}]`, /`subject`/],
    ['scopes of another kind', `[{"id":"abcdefgh","hash":"${'0'.repeat(64)}","subject":"x","scopes":"a"}]`, /`scopes`/],
    ['no date', `[{"id":"abcdefgh","hash":"${'0'.repeat(64)}","subject":"x","expiresAt":"soon"}]`, /`expiresAt`/],
    [
      'two entries of one id',
      `[${Array(2)
        .fill(`{"id":"abcdefgh","hash":"${'0'.repeat(64)}","subject":"x"}`)
        .join(',')}]`,
      /Entry 1 .*abcdefgh/,
    ],
  ])('that holds %s is refused at the start, without its contents', async (_what, text, message) => {
    writeFileSync(file, text)
    await expect(start(file)).rejects.toMatchObject({
      code: 'invalid_option',
      message: expect.stringMatching(message) as unknown,
    })
    await expect(start(file)).rejects.not.toMatchObject({ message: expect.stringContaining('secret') as unknown })
  })

  test('that is not there is refused at the start', async () => {
    await expect(start(join(folder, 'none.json'))).rejects.toMatchObject({ message: /none\.json can't be read/ })
  })
})

describe('holdfast api-keys create', () => {
  const run = (...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> =>
    new Promise((resolve) => {
      execFile(process.execPath, [CLI, 'api-keys', 'create', ...args], { cwd: folder }, (error, stdout, stderr) =>
        resolve({ code: (error?.code as number | undefined) ?? 0, stdout, stderr }),
      )
    })

  test('adds the entry to the file, and prints the key, this once', async () => {
    const first = await run('--file', file, '--subject', 'ada', '--scopes', 'read,write', '--tenant', 'acme')
    const second = await run('--file', file, '--subject', 'bob', '--days', '30')
    expect([first.code, second.code]).toEqual([0, 0])
    const [one, two] = [first, second].map(({ stdout }) => /hf_\w+_[\w-]{43}/.exec(stdout)![0]) as [string, string]
    const entries = JSON.parse(readFileSync(file, 'utf8')) as ApiKeyEntry[]
    expect(entries).toMatchObject([{ subject: 'ada', tenant: 'acme', scopes: ['read', 'write'] }, { subject: 'bob' }])
    const days = (Date.parse(entries[1]!.expiresAt!) - Date.now()) / 86_400_000
    expect(days).toBeGreaterThan(29.9)
    expect(days).toBeLessThan(30.1)
    expect(statSync(file).mode & 0o777).toBe(0o600)
    expect(readFileSync(file, 'utf8')).not.toContain(one.slice(-43))
    ;({ runtime, url } = await serve(() => ({ auth: { apiKeys: file } })))
    expect([await status(one), await status(two)]).toEqual([200, 200])
  })

  test('prints key and entry where it is given no file, as JSON if that is asked for', async () => {
    const { stdout } = await run('--subject', 'ada', '--json')
    const { key, entry } = JSON.parse(stdout) as { key: string; entry: ApiKeyEntry }
    await start([entry])
    clock = new FakeClock()
    expect(await status(key)).toBe(200)
  })

  test.each([
    [['--scopes', 'a'], 2, /--subject/],
    [['--subject', 'x', '--scopes', 'a"b'], 2, /scope/],
    [['--subject', 'x', '--days', '0'], 2, /days/],
    [['--subject', 'x', '--file', '/proc/none/keys.json'], 1, /keys\.json/],
  ])('%j is refused', async (args, code, message) => {
    const { code: actual, stderr } = await run(...args)
    expect([actual, stderr]).toEqual([code, expect.stringMatching(message)])
  })

  test('does not touch a file that is none of its own', async () => {
    writeFileSync(file, '{"mine":true}')
    const { code, stdout } = await run('--subject', 'x', '--file', file)
    expect([code, stdout, readFileSync(file, 'utf8')]).toEqual([1, '', '{"mine":true}'])
  })
})
