import { PassThrough } from 'node:stream'
import { createInterface } from 'node:readline'
import { afterEach, describe, expect, test } from 'vitest'
import { createApiKey } from '../../src/auth/api-keys.ts'
import { createRuntime, defineServer, defineTool, type Runtime, type RuntimeOptions } from '../../src/index.ts'
import { whoami } from './serving.ts'

const server = defineServer({
  name: 'piped',
  version: '1.0.0',
  tools: [whoami, defineTool({ name: 'write', description: 'Writes', scopes: ['notes:write'], run: () => 'written' })],
})

let runtime: Runtime | undefined
afterEach(() => runtime?.close())

/** Sends requests over a pair of pipes, and gathers the answers. */
async function speak(options: RuntimeOptions, ...requests: [string, object][]): Promise<any[]> {
  runtime = await createRuntime(server, { dataDir: false, logLevel: 'silent', ...options })
  const [input, output] = [new PassThrough(), new PassThrough()]
  const served = runtime.serveStdio({ input, output })
  const _meta = {
    'io.modelcontextprotocol/protocolVersion': '2026-07-28',
    'io.modelcontextprotocol/clientCapabilities': {},
  }
  for (const [id, [method, params]] of requests.entries())
    input.write(`${JSON.stringify({ jsonrpc: '2.0', id, method, params: { ...params, _meta } })}\n`)
  const answers: any[] = []
  const failed = served.catch((error: unknown) => {
    output.end()
    throw error
  })
  for await (const line of createInterface({ input: output })) {
    answers.push(JSON.parse(line))
    if (answers.length === requests.length) break
  }
  input.end()
  await failed
  return answers
}
const CALL: [string, object] = ['tools/call', { name: 'whoami', arguments: {} }]

describe('on standard input and output, the caller is', () => {
  test('the user that runs the server, who may use everything', async () => {
    const [list, call] = await speak({}, ['tools/list', {}], CALL)
    expect(list.result.tools.map(({ name }: { name: string }) => name)).toEqual(['whoami', 'write'])
    expect(JSON.parse(call.result.content[0].text)).toEqual({
      issuer: 'local',
      subject: expect.stringMatching(/^\w+@\S+$/),
      scopes: ['notes:write'],
    })
  })

  test('whom the credential from the environment stands for', async () => {
    const { key, entry } = createApiKey({ subject: 'robot', scopes: ['other'] })
    const [list, call] = await speak({ stdioCredential: key, auth: { apiKeys: [entry] } }, ['tools/list', {}], CALL)
    expect(list.result.tools.map(({ name }: { name: string }) => name)).toEqual(['whoami'])
    expect(JSON.parse(call.result.content[0].text)).toEqual({ issuer: 'api-key', subject: 'robot', scopes: ['other'] })
  })

  test.each<[string, RuntimeOptions, RegExp]>([
    ['a credential that is not good', { stdioCredential: 'hf_x_y', auth: { apiKeys: [] } }, /no such API key/],
    ['a credential that nothing checks', { stdioCredential: 'hf_x_y' }, /`auth`/],
    ['a credential that is none', { stdioCredential: 'a b', auth: { apiKeys: [] } }, /no credential/],
  ])('nobody, with %s: the server does not start', async (_what, options, message) => {
    const spoken = speak(options, CALL)
    await expect(spoken).rejects.toMatchObject({ name: 'HoldfastError', message })
    await expect(spoken).rejects.not.toMatchObject({ message: expect.stringContaining('hf_x') as unknown })
  })
})
