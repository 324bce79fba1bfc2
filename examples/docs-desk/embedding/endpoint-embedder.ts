import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { embedMany } from 'ai'
import type { EndpointSettings } from '../settings.ts'
import { normalize } from './embedder.ts'
import type { Embedder, PassageText } from './embedder.ts'

const MAX_RETRIES = 2

/** Vectors from an endpoint that speaks the OpenAI HTTP interface. */
export function createEndpointEmbedder(endpoint: EndpointSettings, modelId: string): Embedder {
  const provider = createOpenAICompatible({
    name: 'docs-desk',
    baseURL: endpoint.baseUrl,
    ...(endpoint.apiKey && { apiKey: endpoint.apiKey }),
  })
  const model = provider.embeddingModel(modelId)
  const embed = async (values: readonly string[], signal?: AbortSignal): Promise<Float32Array[]> => {
    const timeout = AbortSignal.timeout(endpoint.timeoutMs)
    const { embeddings } = await embedMany({
      model,
      values: [...values],
      maxRetries: MAX_RETRIES,
      abortSignal: signal ? AbortSignal.any([signal, timeout]) : timeout,
    })
    return embeddings.map(normalize)
  }
  return {
    model: `endpoint/${modelId}`,
    embedPassages: async (passages, signal) => (await embed(passages.map(toText), signal)).map((vector) => [vector]),
    embedQuery: async (text, signal) => (await embed([text], signal))[0]!,
    // Requests end with their signal; nothing is kept between them.
    close: () => Promise.resolve(),
  }
}

function toText({ title, headingPath, text }: PassageText): string {
  const path = headingPath[0] === title ? headingPath : [title, ...headingPath]
  return `${path.join(' > ')}\n${text}`
}
