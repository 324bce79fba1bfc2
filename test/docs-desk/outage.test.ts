import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { connect, type TestClient } from 'holdfast/testing'
import { describe, expect, it, onTestFinished } from 'vitest'
import { createEndpointEmbedder } from '../../examples/docs-desk/embedding/endpoint-embedder.ts'
import { createModels } from '../../examples/docs-desk/endpoint/models.ts'
import { defineDocsDeskServer } from '../../examples/docs-desk/server-definition.ts'
import type { Settings } from '../../examples/docs-desk/settings.ts'
import { openSqliteStore } from '../../examples/docs-desk/store/sqlite-store.ts'
import { createDocsDesk } from '../../examples/docs-desk/docs-desk.ts'
import { DEFAULT_LIMITS } from '../../examples/docs-desk/settings.ts'
import { answerRequest, chatAnswer, embeddingsAnswer, sendBeginning, type ReceivedRequest } from './support.ts'

const TIMEOUT_MS = 400
/** What a desk must answer in while its endpoint is known to be away. */
const QUICK_MS = 100

/** An endpoint for answers and vectors that can be slow, dead, and back. */
interface Endpoint {
  readonly baseUrl: string
  readonly chats: ReceivedRequest[]
  readonly embedded: ReceivedRequest[]
  state: 'up' | 'silent' | 'stalling'
  /** Called when it is asked for an answer, before it gives one. */
  onChat: ((request: IncomingMessage) => void) | undefined
  die(): Promise<void>
  comeBack(): Promise<void>
}

async function startEndpoint(): Promise<Endpoint> {
  const chats: ReceivedRequest[] = []
  const embedded: ReceivedRequest[] = []
  const serve = (): Server =>
    createServer((request, response) => {
      void answerRequest(request, response, (call) => {
        const isChat = call.path.endsWith('/chat/completions')
        ;(isChat ? chats : embedded).push(call)
        if (isChat) endpoint.onChat?.(request)
        if (endpoint.state === 'silent') return undefined
        if (isChat && endpoint.state === 'stalling') return sendBeginning(response, 'Every ')
        if (isChat) return chatAnswer('Every second month [1].')
        const { input } = call.body as { input: string[] }
        return embeddingsAnswer(input.length)
      })
    })
  let server = serve()
  const listen = (port: number): Promise<void> =>
    new Promise((resolve) => server.listen(port, '127.0.0.1', () => resolve()))
  const die = async (): Promise<void> => {
    const closed = new Promise((resolve) => server.close(resolve))
    server.closeAllConnections()
    await closed
  }
  await listen(0)
  const { port } = server.address() as AddressInfo
  const endpoint: Endpoint = {
    baseUrl: `http://127.0.0.1:${port}/v1`,
    chats,
    embedded,
    state: 'up',
    onChat: undefined,
    die,
    async comeBack() {
      endpoint.state = 'up'
      server = serve()
      await listen(port)
    },
  }
  onTestFinished(async () => {
    if (server.listening) await die()
  })
  return endpoint
}

interface Asked {
  readonly kind: 'answer' | 'passages'
  readonly reason?: string
  readonly warnings: string[]
  readonly ms: number
}

/** A server of one document, with models of the endpoint, and its `ask`. */
async function openDesk(
  { baseUrl }: Endpoint,
  more: Partial<Settings> = {},
): Promise<{ client: TestClient; ask: (question: string) => Promise<Asked> }> {
  const endpoint = { baseUrl, chatModel: 'chat', embeddingModel: 'embedder', timeoutMs: TIMEOUT_MS }
  const settings = { databaseFile: ':memory:', roots: [], limits: DEFAULT_LIMITS, endpoint, ...more }
  const models = createModels(endpoint)
  const embedder = createEndpointEmbedder(models.embedding('embedder'), 'embedder')
  const desk = createDocsDesk(settings, openSqliteStore(':memory:'), embedder, models)
  const client = await connect(
    defineDocsDeskServer(() => desk, settings),
    { principal: { subject: 'ann' } },
  )
  onTestFinished(async () => {
    await client.close()
    await desk.close()
  })
  await client.callTool('ingest', { title: 'Coffee', text: 'Descale the machine every second month.' })
  const ask = async (question: string): Promise<Asked> => {
    const startedMs = performance.now()
    const { structuredContent } = await client.callTool('ask', { question })
    return { ...(structuredContent as Omit<Asked, 'ms'>), ms: performance.now() - startedMs }
  }
  return { client, ask }
}

/** The middle one of some. */
const median = (all: readonly number[]): number => all.toSorted((a, b) => a - b)[Math.floor(all.length / 2)]!

describe('while its endpoint is dead, Docs desk', () => {
  it.each(['dead', 'silent'] as const)(
    '(%s) answers with passages, quickly, says so, and answers again when it is back',
    async (how) => {
      const endpoint = await startEndpoint()
      const { client, ask } = await openDesk(endpoint)
      expect(await ask('How often is the coffee machine descaled?')).toMatchObject({ kind: 'answer', warnings: [] })

      if (how === 'dead') await endpoint.die()
      else endpoint.state = 'silent'
      const first = [await ask('Who descales the coffee machine?'), await ask('Why descale the coffee machine?')]
      for (const { kind } of first) expect(kind).toBe('passages')
      // Refused connections are found out at once; of silence each of the two models takes its time.
      expect(Math.max(...first.map(({ ms }) => ms))).toBeLessThan(how === 'dead' ? TIMEOUT_MS : 2 * TIMEOUT_MS + 300)

      const later: Asked[] = []
      for (let index = 0; index < 9; index++) later.push(await ask(`Question ${index} on the coffee machine?`))
      for (const { kind } of later) expect(kind).toBe('passages')
      // All but those who try whether it is back.
      expect(median(later.map(({ ms }) => ms))).toBeLessThan(QUICK_MS)
      const refused = later.filter(({ reason }) => reason?.includes('docs-desk-chat is not available now'))
      expect(refused.length).toBeGreaterThan(4)
      expect(refused[0]!.reason).toMatch(/^The language model did not answer: .* Try again in \d s\.$/)
      expect(refused.at(-1)!.warnings.join()).toContain('Searched by words alone')
      expect(client.runtime.dependencies.list().map(({ breaker }) => breaker)).not.toContain('closed')

      // What was answered before is answered still.
      expect(await ask('How often is the coffee machine descaled?')).toMatchObject({ kind: 'answer', warnings: [] })

      if (how === 'dead') await endpoint.comeBack()
      else endpoint.state = 'up'
      let count = 0
      await expect
        .poll(async () => (await ask(`Is the coffee machine back? ${count++}`)).kind, { timeout: 10 * TIMEOUT_MS })
        .toBe('answer')
    },
  )
})

describe('an answer that stops in its midst', () => {
  it('is given up when the time between two parts is over, here and at the endpoint, and is not kept', async () => {
    const endpoint = await startEndpoint()
    const { ask } = await openDesk(endpoint)
    let closed = 0
    endpoint.onChat = ({ socket }) => {
      if (endpoint.state === 'stalling') socket.once('close', () => closed++)
    }
    endpoint.state = 'stalling'
    const { kind, reason, ms } = await ask('How often is the coffee machine descaled?')
    expect([kind, reason]).toEqual([
      'passages',
      `The language model did not answer: docs-desk-chat did not answer within ${TIMEOUT_MS} ms.`,
    ])
    expect(ms).toBeLessThan(2 * TIMEOUT_MS)
    await expect.poll(() => closed).toBe(1)
    endpoint.state = 'up'
    expect((await ask('How often is the coffee machine descaled?')).kind).toBe('answer')
    expect(endpoint.chats.length).toBe(2)
  })
})

describe('a question whose client goes away', () => {
  it('is ended at the endpoint too', async () => {
    const endpoint = await startEndpoint()
    const { client } = await openDesk(endpoint)
    endpoint.state = 'up'
    const leaving = new AbortController()
    let closed = false
    endpoint.onChat = (request) => {
      endpoint.state = 'silent'
      request.socket.once('close', () => (closed = true))
      leaving.abort()
    }
    const asking = client.callTool('ask', { question: 'Who descales the coffee machine?' }, { signal: leaving.signal })
    await expect(asking).rejects.toThrow()
    await expect.poll(() => closed, { timeout: TIMEOUT_MS - 50 }).toBe(true)
    expect(endpoint.chats.length).toBe(1)
  })
})

describe('what Docs desk has asked its endpoint before', () => {
  it('is not asked again: the vector of a question, and its answer', async () => {
    const endpoint = await startEndpoint()
    const { ask } = await openDesk(endpoint)
    const vectorsOfIngest = endpoint.embedded.length
    for (let time = 0; time < 3; time++)
      expect(await ask('How often is the coffee machine descaled?')).toMatchObject({ kind: 'answer' })
    expect(endpoint.chats.length).toBe(1)
    expect(endpoint.embedded.length).toBe(vectorsOfIngest + 1)
  })

  it('is asked again when the passages have changed', async () => {
    const endpoint = await startEndpoint()
    const { client, ask } = await openDesk(endpoint)
    await ask('How often is the coffee machine descaled?')
    await client.callTool('ingest', { title: 'Machine', text: 'The coffee machine is descaled each week.' })
    await ask('How often is the coffee machine descaled?')
    expect(endpoint.chats.length).toBe(2)
    expect(JSON.stringify(endpoint.chats[1]!.body)).toContain('each week')
  })
})

describe('a limit on tokens', () => {
  it('is told as the reason for passages, and takes nothing for what was answered before', async () => {
    const endpoint = await startEndpoint()
    const { ask } = await openDesk(endpoint, { tokensPerHour: 1_500 })
    // Of each answer's 1,000 tokens 2 are used, so that the third question is asked as well; but not two at once.
    expect((await ask('When is the coffee machine descaled?')).kind).toBe('answer')
    const both = await Promise.all([
      ask('Who descales the coffee machine?'),
      ask('Why is the coffee machine descaled?'),
    ])
    const refused = both.find(({ kind }) => kind === 'passages')
    expect(refused?.reason).toContain(
      'The limit "principal-3600s-llm-tokens" (1500 in 3600 s for each principal) is used up.',
    )
    expect(both.filter(({ kind }) => kind === 'answer').length).toBe(1)
    expect((await ask('When is the coffee machine descaled?')).kind).toBe('answer')
  })
})
