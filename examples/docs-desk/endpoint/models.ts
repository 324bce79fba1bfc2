import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { wrapEmbeddingModel, wrapLanguageModel } from 'ai'
import type { EmbeddingModel, LanguageModel } from 'ai'
import { defineDependency } from 'holdfast'
import type { Dependency } from 'holdfast'
import { embeddingModelMiddleware, languageModelMiddleware } from 'holdfast/ai-sdk'
import type { EndpointSettings } from '../settings.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

/** The models of an endpoint, guarded and cached. */
export interface EndpointModels {
  chat(modelId: string): LanguageModel
  embedding(modelId: string): EmbeddingModel
}

/**
 * All callers share the documents, so they share what is made of them. What an answer is made from is part of what the model is
 * asked, so that an answer is as good as the passages are.
 */
export function createModels(endpoint: EndpointSettings): EndpointModels {
  const provider = createOpenAICompatible({
    name: 'docs-desk',
    baseURL: endpoint.baseUrl,
    includeUsage: true,
    ...(endpoint.apiKey && { apiKey: endpoint.apiKey }),
  })
  return {
    chat: (modelId) =>
      wrapLanguageModel({
        model: provider.chatModel(modelId),
        middleware: languageModelMiddleware({
          dependency: guardOf('docs-desk-chat', endpoint),
          // Rather an answer of last week than none.
          cache: { ttlMs: DAY_MS, staleIfErrorMs: 7 * DAY_MS, scope: 'public' },
        }),
      }),
    embedding: (modelId) =>
      wrapEmbeddingModel({
        model: provider.embeddingModel(modelId),
        middleware: embeddingModelMiddleware({
          dependency: guardOf('docs-desk-embeddings', endpoint),
          cache: { ttlMs: DAY_MS, scope: 'public' },
        }),
      }),
  }
}

/**
 * There is something to answer with where a model fails, so that two failures in a row are enough to leave it alone for a while:
 * of an endpoint that refuses connections the first call finds that out by itself, in some 50 ms; of one that is silent the first
 * two, and then one call in three times `timeoutMs`, wait for it.
 */
function guardOf(name: string, { timeoutMs }: EndpointSettings): Dependency {
  return defineDependency({
    name,
    timeoutMs,
    deadlineMs: timeoutMs,
    retry: { maxAttempts: 2, baseMs: 50, maxMs: 500 },
    breaker: { consecutiveFailures: 2, openMs: 3 * timeoutMs },
  })
}
