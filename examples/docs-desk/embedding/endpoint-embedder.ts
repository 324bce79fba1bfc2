import { embedMany } from 'ai'
import type { EmbeddingModel } from 'ai'
import { normalize } from './embedder.ts'
import type { Embedder, PassageText } from './embedder.ts'

/** Vectors from a model of an endpoint. */
export function createEndpointEmbedder(model: EmbeddingModel, modelId: string): Embedder {
  const embed = async (values: readonly string[], signal?: AbortSignal): Promise<Float32Array[]> => {
    const { embeddings } = await embedMany({
      model,
      values: [...values],
      maxRetries: 0, // the model's guard retries
      ...(signal && { abortSignal: signal }),
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
