/** `holdfast/ai-sdk`: what the models of the AI SDK are wrapped in. */
export { embeddingModelMiddleware } from './embedding-model.ts'
export { languageModelMiddleware } from './language-model.ts'
export type {
  EmbeddingModelOptions,
  LanguageModelCacheOptions,
  LanguageModelOptions,
  ModelCacheOptions,
  ModelOptions,
} from './options.ts'
export type { ModelPrice, PriceTable } from './prices.ts'
export type { ReplayTiming } from './recording.ts'
