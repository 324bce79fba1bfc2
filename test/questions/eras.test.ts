import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client as Client2, StreamableHTTPClientTransport as Http2 } from '@modelcontextprotocol/client'
import { StdioClientTransport as Stdio2 } from '@modelcontextprotocol/client/stdio'
import { Client as Client1 } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport as Http1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js'
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ListRootsRequestSchema,
} from '@modelcontextprotocol/sdk/types.js'
import { createRuntime, type Runtime } from 'holdfast'
import { connect } from 'holdfast/testing'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { CLI } from '../conformance/server.ts'
import server, { counts } from './fixture.ts'

// One handler, run by one test in every revision that can ask, over every transport, by both official clients.

const CAPABILITIES = { elicitation: { form: {}, url: {} }, sampling: {}, roots: {} }
const ANSWERS = {
  elicit: { action: 'accept' as const, content: { month: 'June', nights: 3 } },
  sample: { role: 'assistant' as const, content: { type: 'text' as const, text: 'Go now!' }, model: 'test' },
  roots: { roots: [{ uri: 'file:///home/ann' }, { uri: 'file:///home/bob' }] },
}
const EXPECTED = 'Offer 1: Oslo in June, 3 nights, into 2 folders. Go now!'

let runtime: Runtime
let url: string
let data: string
beforeAll(async () => {
  data = mkdtempSync(join(tmpdir(), 'holdfast-questions-'))
  runtime = await createRuntime(server, { dataDir: false, logLevel: 'silent' })
  ;({ url } = await runtime.listen({ port: 0 }))
})
afterAll(async () => {
  await runtime.close()
  rmSync(data, { recursive: true })
})
beforeEach(() => {
  counts.runs = 0
  counts.steps = 0
})

type Call = (action?: 'decline' | 'cancel') => Promise<{ text: string; asked: string[] }>

const textOf = (result: unknown): string => (result as { content: { text: string }[] }).content[0]!.text

function official2(options: ConstructorParameters<typeof Client2>[1], transport: () => Http2 | Stdio2): Call {
  return async (action) => {
    const asked: string[] = []
    const client = new Client2({ name: 'test', version: '1' }, { capabilities: CAPABILITIES, ...options })
    client.setRequestHandler('elicitation/create', async ({ params }) => {
      asked.push(params.message)
      return action === undefined ? ANSWERS.elicit : { action }
    })
    client.setRequestHandler('sampling/createMessage', async () => {
      asked.push('sampling')
      return ANSWERS.sample
    })
    client.setRequestHandler('roots/list', async () => {
      asked.push('roots')
      return ANSWERS.roots
    })
    await client.connect(transport())
    try {
      return { text: textOf(await client.callTool({ name: 'trip', arguments: { to: 'Oslo' } })), asked }
    } finally {
      await client.close()
    }
  }
}

const official1: Call = async (action) => {
  const asked: string[] = []
  const client = new Client1({ name: 'test', version: '1' }, { capabilities: CAPABILITIES })
  client.setRequestHandler(ElicitRequestSchema, async ({ params }) => {
    asked.push(params.message)
    return action === undefined ? ANSWERS.elicit : { action }
  })
  client.setRequestHandler(CreateMessageRequestSchema, async () => {
    asked.push('sampling')
    return ANSWERS.sample
  })
  client.setRequestHandler(ListRootsRequestSchema, async () => {
    asked.push('roots')
    return ANSWERS.roots
  })
  await client.connect(new Http1(new URL(url)) as Transport)
  try {
    return { text: textOf(await client.callTool({ name: 'trip', arguments: { to: 'Oslo' } })), asked }
  } finally {
    await client.close()
  }
}

function inMemory(revision: '2026-07-28' | '2025-11-25'): Call {
  return async (action) => {
    const asked: string[] = []
    await using client = await connect(server, {
      revision,
      answers: {
        when: ({ message }) => {
          asked.push(message as string)
          return action ?? ANSWERS.elicit.content
        },
        folders: () => {
          asked.push('roots')
          return ANSWERS.roots.roots
        },
        slogan: () => {
          asked.push('sampling')
          return 'Go now!'
        },
      },
    })
    return { text: (await client.callTool('trip', { to: 'Oslo' })).text, asked }
  }
}

const http = (): Http2 => new Http2(new URL(url))
const stdio = (): Stdio2 =>
  new Stdio2({
    command: process.execPath,
    args: [CLI, 'serve', new URL('fixture.ts', import.meta.url).pathname, '--stdio'],
    cwd: data,
    stderr: 'ignore',
  })

const MODERN = { versionNegotiation: { mode: { pin: '2026-07-28' } } } as const
const LEGACY = { versionNegotiation: { mode: 'legacy' } } as const

/** `isHere`: the handler runs in this process, so that its runs can be counted. */
const WAYS: { name: string; call: Call; runs: number; isHere: boolean }[] = [
  { name: 'client 2.x at 2026-07-28 over HTTP', call: official2(MODERN, http), runs: 3, isHere: true },
  { name: 'client 2.x in a 2025 session over HTTP', call: official2(LEGACY, http), runs: 1, isHere: true },
  { name: 'client 1.x in a 2025 session over HTTP', call: official1, runs: 1, isHere: true },
  { name: 'client 2.x at 2026-07-28 over stdio', call: official2(MODERN, stdio), runs: 3, isHere: false },
  { name: 'client 2.x in a 2025 session over stdio', call: official2(LEGACY, stdio), runs: 1, isHere: false },
  { name: 'the client in memory at 2026-07-28', call: inMemory('2026-07-28'), runs: 3, isHere: true },
  { name: 'the client in memory at 2025-11-25', call: inMemory('2025-11-25'), runs: 1, isHere: true },
]

describe.each(WAYS)('$name', ({ call, runs, isHere }) => {
  test('is asked by the handler, each question once, and gets the same result', async () => {
    const { text, asked } = await call()
    expect(text).toBe(EXPECTED)
    expect(asked.toSorted()).toEqual(['When do you want to go to Oslo?', 'roots', 'sampling'])
    if (isHere) expect(counts).toEqual({ runs, steps: 1 })
  })

  test.each(['decline', 'cancel'] as const)('may %s, and the handler hears which', async (action) => {
    expect((await call(action)).text).toBe(`No trip (${action}).`)
  })
})
