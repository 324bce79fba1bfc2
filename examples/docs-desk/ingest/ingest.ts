import { basename, extname } from 'node:path'
import { errorMessage } from '../desk-error.ts'
import type { Embedder } from '../embedding/embedder.ts'
import { READING_VERSION, formatOf } from '../reading/read-document.ts'
import type { ReadDocument, ReadRequest } from '../reading/read-document.ts'
import type { IngestLimits } from '../settings.ts'
import type { DocumentStore } from '../store/document-store.ts'
import { sha256 } from '../store/sha256.ts'
import { embedMissing } from './embed-missing.ts'
import { readFileInRoot, resolveInRoots, sourceOf, walkFolder } from './roots.ts'

/** Tells how far an ingest is; `done` never falls, `total` may grow when it becomes known how much is to be embedded. */
export type IngestProgress = (done: number, total: number, message: string) => void

/** Reads one document, off the event loop. */
export type ReadDocumentElsewhere = (request: ReadRequest, signal?: AbortSignal) => Promise<ReadDocument>

/** What an ingest needs. */
export interface IngestParts {
  store: DocumentStore
  embedder: Embedder
  read: ReadDocumentElsewhere
  roots: readonly string[]
  limits: IngestLimits
}

/** A document that an ingest touched. */
export interface IngestedDocument {
  id: string
  title: string
  source: string
}

/** What an ingest did. */
export interface IngestReport {
  added: IngestedDocument[]
  updated: IngestedDocument[]
  /** How many documents were as they are stored. */
  unchanged: number
  /** Sources of documents whose file is no longer in the ingested folder. */
  removed: string[]
  /** Files that could not be taken in. What was stored of them before stays as it is. */
  failed: { source: string; reason: string }[]
  passages: {
    added: number
    /** Passages of updated documents that were there before; they keep their vectors. */
    kept: number
    embedded: number
  }
  warnings: string[]
}

interface Source {
  source: string
  fileName: string
  title?: string
  load: () => Promise<ReadRequest>
}

const emptyReport = (): IngestReport => ({
  added: [],
  updated: [],
  unchanged: 0,
  removed: [],
  failed: [],
  passages: { added: 0, kept: 0, embedded: 0 },
  warnings: [],
})

/**
 * Takes in a file, or all readable files of a folder. A document is read anew only if its bytes changed, and embedded only
 * where its passages changed. Documents of the folder whose file has gone are dropped.
 *
 * @throws {DeskError} for a path outside the allowed folders and for too many files; the reason of `signal`. What was
 * stored by then stays, and ingesting again continues.
 */
export async function ingestPath(
  parts: IngestParts,
  path: string,
  progress: IngestProgress = () => {},
  signal?: AbortSignal,
): Promise<IngestReport> {
  const { store, roots, limits } = parts
  const target = await resolveInRoots(path, roots)
  const report = emptyReport()
  const walked = target.isFolder ? await walkFolder(target.path, limits, signal) : { files: [target.path], tooDeep: [] }
  const sources = walked.files.map((file): Source => ({
    source: sourceOf(file, target.root),
    fileName: basename(file),
    load: async () => {
      const format = formatOf(file)
      if (!format) throw new Error(`Files with the ending "${extname(file)}" cannot be read.`)
      return { format, content: await readFileInRoot(file, target.root, limits.maxFileBytes) }
    },
  }))
  await storeAll(parts, sources, report, progress, signal)
  if (target.isFolder) {
    const kept = new Set(sources.map(({ source }) => source))
    const deep = walked.tooDeep.map((folder) => `${sourceOf(folder, target.root)}/`)
    for (const { id, source } of await store.withSourcePrefix(`${target.source}/`)) {
      if (kept.has(source) || deep.some((prefix) => source.startsWith(prefix))) continue
      await store.remove(id)
      report.removed.push(source)
    }
    if (deep.length > 0)
      report.warnings.push(`${deep.length} folders lie deeper than ${limits.maxDepth} levels and were left out.`)
  }
  await embedMissing(parts, report, sources.length, progress, signal)
  return report
}

/** Takes in a text under a title, read as Markdown. The same title again replaces it. */
export async function ingestText(
  parts: IngestParts,
  title: string,
  text: string,
  progress: IngestProgress = () => {},
  signal?: AbortSignal,
): Promise<IngestReport> {
  const report = emptyReport()
  const load = (): Promise<ReadRequest> => Promise.resolve({ format: 'markdown', content: text })
  await storeAll(parts, [{ source: `text:${title}`, fileName: title, title, load }], report, progress, signal)
  await embedMissing(parts, report, 1, progress, signal)
  return report
}

async function storeAll(
  parts: IngestParts,
  sources: readonly Source[],
  report: IngestReport,
  progress: IngestProgress,
  signal?: AbortSignal,
): Promise<void> {
  for (const [index, source] of sources.entries()) {
    signal?.throwIfAborted()
    progress(index, sources.length, `Reading ${source.source}`)
    try {
      await storeOne(parts, source, report, signal)
    } catch (error) {
      signal?.throwIfAborted()
      report.failed.push({ source: source.source, reason: errorMessage(error) })
    }
  }
}

async function storeOne(
  { store, read }: IngestParts,
  { source, fileName, title, load }: Source,
  report: IngestReport,
  signal?: AbortSignal,
): Promise<void> {
  const request = await load()
  const contentHash = sha256(`${READING_VERSION}/${request.format}/`, request.content)
  const before = await store.bySource(source)
  if (before?.contentHash === contentHash) {
    report.unchanged++
    return
  }
  const { text, chunks, ...named } = await read(request, signal)
  const name = basename(fileName, extname(fileName))
  const document = { id: before?.id ?? documentId(name, source), title: title ?? named.title ?? name, source }
  const { added, kept } = await store.put({ ...document, contentHash, text, chunks })
  report.passages.added += added
  report.passages.kept += kept
  if (before) report.updated.push(document)
  else report.added.push(document)
}

/** An id that people can read and that stays the same for a source. */
function documentId(name: string, source: string): string {
  const slug = name
    .normalize('NFKD')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, 40)
    .replace(/^-+|-+$/g, '')
  return `${slug || 'document'}-${sha256(source).slice(0, 8)}`
}
