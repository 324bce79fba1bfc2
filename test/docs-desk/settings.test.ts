import { mkdir } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { readSettings } from '../../examples/docs-desk/settings.ts'
import { temporaryFolder } from './support.ts'

describe('settings', () => {
  it('work out of the box: the sample folder, a file in the data folder, no endpoint', () => {
    const settings = readSettings({})
    expect(settings.roots).toEqual([expect.stringMatching(/docs-desk[\\/]sample$/)])
    expect(settings.databaseFile).toBe(join('.holdfast', 'docs-desk.db'))
    expect(settings.endpoint).toBeUndefined()
  })

  it('take folders, data folder and endpoint from the environment', async () => {
    const base = await temporaryFolder()
    for (const name of ['one', 'two']) await mkdir(join(base, name))
    const settings = readSettings({
      DOCS_DESK_ROOTS: [join(base, 'one'), join(base, 'two')].join(delimiter),
      HOLDFAST_DATA_DIR: base,
      OPENAI_BASE_URL: 'http://127.0.0.1:11434/v1',
      DOCS_DESK_CHAT_MODEL: 'qwen3',
      DOCS_DESK_TOKENS_PER_HOUR: '200000',
    })
    expect(settings.tokensPerHour).toBe(200_000)
    expect(settings.roots).toEqual([join(base, 'one'), join(base, 'two')])
    expect(settings.databaseFile).toBe(join(base, 'docs-desk.db'))
    expect(settings.endpoint).toEqual({ baseUrl: 'http://127.0.0.1:11434/v1', chatModel: 'qwen3', timeoutMs: 10_000 })
    expect(readSettings({ DOCS_DESK_ROOTS: '' }).roots).toEqual([])
  })

  it('take a Postgres database for the index, and leave other stores of tasks alone', () => {
    for (const url of ['postgres://desk@db/desk', 'postgresql://desk@db/desk'])
      expect(readSettings({ DATABASE_URL: url }).databaseUrl).toBe(url)
    for (const url of ['sqlite:tasks.db', 'dynamodb://tasks', ''])
      expect(readSettings({ DATABASE_URL: url }).databaseUrl).toBeUndefined()
  })

  it.each([
    [{ DATABASE_URL: 'mysql://user:secret@db/desk' }, 'DATABASE_URL begins with "mysql:"'],
    [{ DOCS_DESK_ROOT: '/x' }, 'DOCS_DESK_ROOT is no setting'],
    [{ DOCS_DESK_ROOTS: ['/a/docs', '/b/docs'].join(delimiter) }, 'two folders named "docs"'],
    [{ DOCS_DESK_ROOTS: '/' }, 'root of a file system'],
    [{ DOCS_DESK_CHAT_MODEL: 'm' }, 'neither OPENAI_BASE_URL nor OPENAI_API_KEY'],
    [{ DOCS_DESK_CHAT_MODEL: 'm', OPENAI_BASE_URL: 'localhost:1' }, 'Use an http or https URL'],
    [{ DOCS_DESK_CHAT_MODEL: 'm', OPENAI_API_KEY: 'k', DOCS_DESK_TIMEOUT_MS: '1s' }, 'DOCS_DESK_TIMEOUT_MS is "1s"'],
    [{ DOCS_DESK_TOKENS_PER_HOUR: '0' }, 'DOCS_DESK_TOKENS_PER_HOUR is "0"'],
  ])('refuse %j', (environment, message) => {
    expect(() => readSettings(environment)).toThrow(message)
  })
})
