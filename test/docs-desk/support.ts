import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { mkdtemp, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { createDocsDesk } from '../../examples/docs-desk/docs-desk.ts'
import type { DocsDesk } from '../../examples/docs-desk/docs-desk.ts'
import { createModels } from '../../examples/docs-desk/endpoint/models.ts'
import { normalize } from '../../examples/docs-desk/embedding/embedder.ts'
import type { Embedder, PassageText } from '../../examples/docs-desk/embedding/embedder.ts'
import { DEFAULT_LIMITS } from '../../examples/docs-desk/settings.ts'
import type { Settings } from '../../examples/docs-desk/settings.ts'
import type { DocumentStore } from '../../examples/docs-desk/store/document-store.ts'
import { openSqliteStore } from '../../examples/docs-desk/store/sqlite-store.ts'

/** A folder that is gone after the test. */
export async function temporaryFolder(): Promise<string> {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'docs-desk-')))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  return folder
}

const WORD_DIMENSIONS = 64

/** An embedder for tests that are not about vectors: counts words by a hash of each, and remembers what it was asked. */
export class WordEmbedder implements Embedder {
  readonly model: string
  readonly embedded: PassageText[] = []
  /** Thrown by the next calls, if set. */
  failure: Error | undefined

  constructor(model = 'words') {
    this.model = model
  }

  embedPassages(passages: readonly PassageText[], signal?: AbortSignal): Promise<Float32Array[][]> {
    return this.#run(signal, () => {
      this.embedded.push(...passages)
      return passages.map(({ title, headingPath, text }) => [toVector([title, ...headingPath, text].join(' '))])
    })
  }

  embedQuery(text: string, signal?: AbortSignal): Promise<Float32Array> {
    return this.#run(signal, () => toVector(text))
  }

  async close(): Promise<void> {}

  async #run<T>(signal: AbortSignal | undefined, embed: () => T): Promise<T> {
    signal?.throwIfAborted()
    if (this.failure) throw this.failure
    return embed()
  }
}

function toVector(text: string): Float32Array {
  const counts = Array.from({ length: WORD_DIMENSIONS }, () => 0)
  for (const word of text.toLowerCase().match(/\p{L}+/gu) ?? []) {
    let hash = 7
    for (const character of word) hash = (hash * 31 + character.codePointAt(0)!) % 65_521
    counts[hash % WORD_DIMENSIONS]!++
  }
  return normalize(counts)
}

/** A knowledge base in memory over a {@link WordEmbedder}, closed after the test. */
export function openTestDesk(
  settings: Partial<Settings> = {},
  embedder: Embedder = new WordEmbedder(),
  store: DocumentStore = openSqliteStore(':memory:'),
): DocsDesk {
  const desk = createDocsDesk(
    { databaseFile: ':memory:', roots: [], limits: DEFAULT_LIMITS, ...settings },
    store,
    embedder,
    settings.endpoint && createModels(settings.endpoint),
  )
  onTestFinished(() => desk.close())
  return desk
}

/** A request as the fake endpoint received it. */
export interface ReceivedRequest {
  path: string
  authorization: string | undefined
  body: Record<string, unknown>
}

/** What the fake endpoint does with a request; gives the JSON to answer with, or answers by itself and gives nothing. */
export type Respond = (request: ReceivedRequest, response: ServerResponse) => unknown

/** A server on this machine that is asked as an OpenAI-compatible endpoint; its base URL and what it received. */
export async function startEndpoint(respond: Respond): Promise<{ baseUrl: string; received: ReceivedRequest[] }> {
  const received: ReceivedRequest[] = []
  const server = createServer((request, response) => {
    void answerRequest(request, response, (call) => {
      received.push(call)
      return respond(call, response)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(async () => {
    const closed = new Promise((resolve) => server.close(resolve))
    server.closeAllConnections()
    await closed
  })
  return { baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`, received }
}

/** Answers a request as such an endpoint does; a chat as a stream, where that is asked for. */
export async function answerRequest(
  request: IncomingMessage,
  response: ServerResponse,
  respond: (request: ReceivedRequest) => unknown,
): Promise<void> {
  const body = await readJson(request)
  const answer = respond({ path: request.url ?? '', authorization: request.headers.authorization, body })
  if (answer === undefined) return
  if (body['stream'] === true && response.statusCode === 200) return sendStream(response, answer as ChatAnswer)
  response.setHeader('content-type', 'application/json')
  response.end(JSON.stringify(answer))
}

async function readJson(request: IncomingMessage): Promise<Record<string, unknown>> {
  const parts: Buffer[] = []
  for await (const part of request) parts.push(part as Buffer)
  return JSON.parse(Buffer.concat(parts).toString()) as Record<string, unknown>
}

interface ChatAnswer {
  id: string
  created: number
  model: string
  choices: { message: { content: string }; finish_reason: string }[]
  usage: object
}

/** The endpoint's answer to a chat request. */
export function chatAnswer(text: string): unknown {
  return {
    id: 'chat-1',
    object: 'chat.completion',
    created: 0,
    model: 'test-model',
    choices: [{ index: 0, message: { role: 'assistant', content: text }, finish_reason: 'stop' }],
    usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 },
  }
}

/** The endpoint's answer to a request for embeddings: vectors of ones. */
export function embeddingsAnswer(count: number, dimensions = 3): unknown {
  return {
    object: 'list',
    model: 'embedder',
    data: Array.from({ length: count }, (_, index) => ({
      object: 'embedding',
      index,
      embedding: Array.from({ length: dimensions }, () => index + 1),
    })),
    usage: { prompt_tokens: 1, total_tokens: 1 },
  }
}

/** The same answer, as the endpoint streams it: word by word. */
export function sendStream(response: ServerResponse, { id, created, model, choices, usage }: ChatAnswer): void {
  const [choice] = choices
  const send = (given: object): void => {
    const chunk = { id, object: 'chat.completion.chunk', created, model, ...given }
    response.write(`data: ${JSON.stringify(chunk)}\n\n`)
  }
  response.setHeader('content-type', 'text/event-stream')
  for (const content of choice!.message.content.split(/(?<= )/)) send({ choices: [{ index: 0, delta: { content } }] })
  send({ choices: [{ index: 0, delta: {}, finish_reason: choice!.finish_reason }] })
  send({ choices: [], usage })
  response.end('data: [DONE]\n\n')
}

/** The first words of a streamed answer, and nothing after them. */
export function sendBeginning(response: ServerResponse, content: string): void {
  response.setHeader('content-type', 'text/event-stream')
  const chunk = { id: 'chat-1', created: 0, model: 'test-model', choices: [{ index: 0, delta: { content } }] }
  response.write(`data: ${JSON.stringify(chunk)}\n\n`)
}

/** A PDF whose pages show one line each. */
export function makePdf(pages: readonly string[], title?: string): Buffer {
  const objects: string[] = []
  const add = (body: string): number => objects.push(body)
  const kids = pages.map((_, index) => `${4 + index * 2} 0 R`).join(' ')
  add('<< /Type /Catalog /Pages 2 0 R >>')
  add(`<< /Type /Pages /Kids [${kids}] /Count ${pages.length} >>`)
  add('<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>')
  for (const page of pages) {
    const stream = page === '' ? '' : `BT /F1 12 Tf 72 700 Td (${page.replace(/[\\()]/g, '\\$&')}) Tj ET`
    const number = objects.length + 1
    add(
      `<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources << /Font << /F1 3 0 R >> >> /Contents ${number + 1} 0 R >>`,
    )
    add(`<< /Length ${stream.length} >>\nstream\n${stream}\nendstream`)
  }
  const info = title === undefined ? undefined : add(`<< /Title (${title}) >>`)
  let pdf = '%PDF-1.4\n'
  const offsets = objects.map((body, index) => {
    const offset = pdf.length
    pdf += `${index + 1} 0 obj\n${body}\nendobj\n`
    return offset
  })
  const start = pdf.length
  const entries = offsets.map((offset) => `${String(offset).padStart(10, '0')} 00000 n \n`).join('')
  pdf += `xref\n0 ${objects.length + 1}\n0000000000 65535 f \n${entries}`
  pdf += `trailer\n<< /Size ${objects.length + 1} /Root 1 0 R${info === undefined ? '' : ` /Info ${info} 0 R`} >>\n`
  return Buffer.from(`${pdf}startxref\n${start}\n%%EOF\n`, 'latin1')
}
