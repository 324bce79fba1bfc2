import { errorMessage } from '../desk-error.ts'
import type { Embedder } from '../embedding/embedder.ts'
import type { DocumentStore } from '../store/document-store.ts'
import type { IngestProgress, IngestReport } from './ingest.ts'

/** Passages embedded and stored at a time. */
const BATCH_PASSAGES = 16

/**
 * Embeds every passage in the store that has no vector of the present model: those just added, those that an interrupted
 * ingest left, and all of them after the model was changed. Where the model fails, the report says so; the passages stay
 * findable by their words.
 *
 * @throws the reason of `signal`.
 */
export async function embedMissing(
  { store, embedder }: { store: DocumentStore; embedder: Embedder },
  report: IngestReport,
  documentsDone: number,
  progress: IngestProgress,
  signal?: AbortSignal,
): Promise<void> {
  const total = await store.countUnembedded(embedder.model)
  let done = 0
  const tell = (): void =>
    progress(documentsDone + done, documentsDone + Math.max(total, done), `Embedded ${done} of ${total} passages`)
  tell()
  for (;;) {
    signal?.throwIfAborted()
    const batch = await store.unembedded(embedder.model, BATCH_PASSAGES)
    if (batch.length === 0) return
    try {
      const vectors = await embedder.embedPassages(batch, signal)
      await store.putVectors(
        embedder.model,
        batch.map(({ hash }, index) => ({ hash, vectors: vectors[index]! })),
      )
    } catch (error) {
      signal?.throwIfAborted()
      const left = await store.countUnembedded(embedder.model)
      report.warnings.push(
        `${left} passages could not be embedded and are found by their words alone: ${errorMessage(error)} Ingest again to retry.`,
      )
      return
    }
    done += batch.length
    report.passages.embedded += batch.length
    tell()
  }
}
