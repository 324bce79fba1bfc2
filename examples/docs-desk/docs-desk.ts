import { answerFrom, chatModel } from './answer/answer.ts'
import type { CitedAnswer, Model } from './answer/answer.ts'
import { DeskError, errorMessage } from './desk-error.ts'
import type { Embedder } from './embedding/embedder.ts'
import { createEndpointEmbedder } from './embedding/endpoint-embedder.ts'
import { createLocalEmbedder } from './embedding/local-embedder.ts'
import { createModels } from './endpoint/models.ts'
import type { EndpointModels } from './endpoint/models.ts'
import { ingestPath, ingestText } from './ingest/ingest.ts'
import type { IngestProgress, IngestReport } from './ingest/ingest.ts'
import { createTurns, withoutRecord } from './ingest/steps.ts'
import type { Step } from './ingest/steps.ts'
import type { ReadDocument, ReadRequest } from './reading/read-document.ts'
import { gatherReport } from './report/report.ts'
import type { Report } from './report/render.ts'
import { search } from './search/search.ts'
import type { FoundPassage, SearchResult } from './search/search.ts'
import type { Settings } from './settings.ts'
import type { DocumentStore, DocumentSummary } from './store/document-store.ts'
import { openPostgresStore } from './store/postgres-store.ts'
import { openSqliteStore } from './store/sqlite-store.ts'
import { WorkerClient } from './workers/worker-client.ts'

/** What {@link DocsDesk.ask} gives: an answer of a language model, or the passages it would have been made from. */
export type AskResult =
  | ({ kind: 'answer'; warnings: string[] } & CitedAnswer)
  | { kind: 'passages'; reason: string; passages: FoundPassage[]; warnings: string[] }

/** A knowledge base: documents go in, passages and answers come out. */
export interface DocsDesk {
  /** See `ingestPath` and `ingestText`. */
  ingest(
    what: { path: string } | { title: string; text: string },
    options?: { progress?: IngestProgress; signal?: AbortSignal; step?: Step },
  ): Promise<IngestReport>
  /** See `search`. */
  search(query: string, limit: number, signal?: AbortSignal): Promise<SearchResult>
  /** The passages that a question is answered from. */
  passagesFor(question: string, signal?: AbortSignal): Promise<SearchResult>
  /**
   * Answers a question from passages: by the endpoint's model, or else by `clientModel`. Gives the passages where there is
   * no model, or the model fails.
   */
  answer(
    question: string,
    found: SearchResult,
    options?: { clientModel?: Model | undefined; signal?: AbortSignal },
  ): Promise<AskResult>
  /** {@link passagesFor}, and then {@link answer}. */
  ask(question: string, signal?: AbortSignal): Promise<AskResult>
  /** What the documents say on a topic, see `gatherReport`: summed up by the endpoint's model, or else in their own words. */
  report(topic: string, options?: { progress?: IngestProgress; signal?: AbortSignal; step?: Step }): Promise<Report>
  /** The document of an id or title. Throws as {@link forget} does. */
  find(idOrTitle: string): Promise<DocumentSummary>
  /**
   * Removes a document.
   * @throws {DeskError} `not_found`, or `ambiguous` if several have the title.
   */
  forget(idOrTitle: string): Promise<DocumentSummary>
  list(): Promise<DocumentSummary[]>
  /** A document with its text. Throws as {@link forget} does. */
  read(idOrTitle: string): Promise<DocumentSummary & { text: string }>
  /** Ends the worker threads and closes the database. */
  close(): Promise<void>
}

const ANSWER_PASSAGES = 8
const MAX_HEAP_MEBIBYTES = 1_024

/** Opens a knowledge base as the settings say. */
export function openDocsDesk(settings: Settings): DocsDesk {
  const { endpoint } = settings
  const models = endpoint && createModels(endpoint)
  const modelId = endpoint?.embeddingModel
  const embedder =
    models && modelId ? createEndpointEmbedder(models.embedding(modelId), modelId) : createLocalEmbedder()
  return createDocsDesk(settings, openStore(settings), embedder, models)
}

/** The store that the settings name. */
export function openStore({
  databaseUrl,
  databaseFile,
}: Pick<Settings, 'databaseUrl' | 'databaseFile'>): DocumentStore {
  return databaseUrl === undefined ? openSqliteStore(databaseFile) : openPostgresStore(databaseUrl)
}

/** A knowledge base over a store and models of the caller's. */
export function createDocsDesk(
  settings: Settings,
  store: DocumentStore,
  embedder: Embedder,
  models?: EndpointModels,
): DocsDesk {
  const { roots, limits, endpoint } = settings
  const chat = models && endpoint?.chatModel ? models.chat(endpoint.chatModel) : undefined
  const reader = new WorkerClient<ReadRequest, ReadDocument>(new URL('./reading/read-worker.ts', import.meta.url), {
    timeoutMs: limits.readTimeoutMs,
    maxHeapMebibytes: MAX_HEAP_MEBIBYTES,
  })
  // Two ingests that embed at once would often embed the same passages.
  const parts = { store, embedder, roots, limits, read: reader.call.bind(reader), inTurn: createTurns() }

  const findOne = async (idOrTitle: string): Promise<DocumentSummary> => {
    const found = await store.find(idOrTitle)
    if (found.length === 0)
      throw new DeskError('not_found', `There is no document "${idOrTitle}". List the documents for ids and titles.`)
    if (found.length > 1)
      throw new DeskError(
        'ambiguous',
        `${found.length} documents have the title "${idOrTitle}". Use an id: ${found.map(({ id }) => id).join(', ')}.`,
      )
    return found[0]!
  }

  const ownModel = (signal: AbortSignal | undefined): Model | undefined => chat && chatModel(chat, signal)

  return {
    ingest(what, { progress, signal, step = withoutRecord } = {}) {
      const own = { ...parts, step }
      return 'path' in what
        ? ingestPath(own, what.path, progress, signal)
        : ingestText(own, what.title, what.text, progress, signal)
    },
    search: (query, limit, signal) => search(store, embedder, query, limit, signal),
    passagesFor: (question, signal) => search(store, embedder, question, ANSWER_PASSAGES, signal),
    async answer(question, { passages, warnings }, { clientModel, signal } = {}) {
      const giveUp = (reason: string): AskResult => ({ kind: 'passages', reason, passages, warnings })
      if (passages.length === 0) return giveUp('No document holds anything on this.')
      const model = ownModel(signal) ?? clientModel
      if (model === undefined) return giveUp('No language model is set (DOCS_DESK_CHAT_MODEL).')
      try {
        return { kind: 'answer', ...(await answerFrom(model, question, passages)), warnings }
      } catch (error) {
        signal?.throwIfAborted()
        return giveUp(`The language model did not answer: ${errorMessage(error)}`)
      }
    },
    async ask(question, signal) {
      return this.answer(question, await this.passagesFor(question, signal), signal && { signal })
    },
    report(topic, { progress = () => {}, signal, step = withoutRecord } = {}) {
      const find = (query: string, limit: number): Promise<SearchResult> =>
        search(store, embedder, query, limit, signal)
      return gatherReport({ find, model: ownModel(signal), step }, topic, progress, signal)
    },
    find: findOne,
    async forget(idOrTitle) {
      const document = await findOne(idOrTitle)
      await store.remove(document.id)
      return document
    },
    list: () => store.list(),
    async read(idOrTitle) {
      const document = await findOne(idOrTitle)
      const text = await store.text(document.id)
      if (text === undefined) throw new DeskError('not_found', `There is no document "${idOrTitle}" any more.`)
      return { ...document, text }
    },
    async close() {
      await Promise.all([reader.close(), embedder.close()])
      await store.close()
    },
  }
}
