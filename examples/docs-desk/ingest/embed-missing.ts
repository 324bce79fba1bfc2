import { randomUUID } from 'node:crypto'
import { errorMessage } from '../desk-error.ts'
import { sha256 } from '../store/sha256.ts'
import type { IngestParts, IngestProgress, IngestReport } from './ingest.ts'
import { perStep } from './steps.ts'

/** Passages embedded and stored at a time, or more where there are many. */
const BATCH_PASSAGES = 16

/** The model gave no vectors. */
class EmbeddingFailed extends Error {}

/**
 * Embeds every passage in the store that has no vector of the present model: those just added, those that an interrupted
 * ingest left, and all of them after the model was changed. Where the model fails, the report says so; the passages stay
 * findable by their words.
 *
 * Each batch is a step. It takes what the store still lacks, so a batch that was stored but not put on record (the process
 * was killed in between) is not embedded again.
 *
 * @throws the reason of `signal`, and what the store throws.
 */
export async function embedMissing(
  { store, embedder, step, inTurn }: Pick<IngestParts, 'store' | 'embedder' | 'step' | 'inTurn'>,
  report: IngestReport,
  documentsDone: number,
  progress: IngestProgress,
  signal?: AbortSignal,
): Promise<void> {
  const total = await step('passages to embed', () => store.countUnembedded(embedder.model))
  const size = perStep(total, BATCH_PASSAGES)
  let done = 0
  const tell = (): void =>
    progress(documentsDone + done, documentsDone + Math.max(total, done), `Embedded ${done} of ${total} passages`)
  tell()
  for (let batch = 1; ; batch++) {
    signal?.throwIfAborted()
    try {
      const embedSome = async (): Promise<{ taken: number; stored: number }> => {
        signal?.throwIfAborted()
        const passages = await store.unembedded(embedder.model, size, sha256(randomUUID()))
        if (passages.length === 0) return { taken: 0, stored: 0 }
        const vectors = await embedder.embedPassages(passages, signal).catch((cause: unknown) => {
          throw new EmbeddingFailed(errorMessage(cause), { cause })
        })
        const named = passages.map(({ hash }, index) => ({ hash, vectors: vectors[index]! }))
        return { taken: passages.length, stored: await store.putVectors(embedder.model, named) }
      }
      const { taken, stored } = await step(`embed batch ${batch}`, () => inTurn(embedSome))
      if (taken === 0) return
      done += taken
      report.passages.embedded += stored
    } catch (error) {
      signal?.throwIfAborted()
      if (!(error instanceof EmbeddingFailed)) throw error
      const left = await store.countUnembedded(embedder.model)
      report.warnings.push(
        `${left} passages could not be embedded and are found by their words alone: ${error.message} Ingest again to retry.`,
      )
      return
    }
    tell()
  }
}
