import { basename, extname, join, relative } from 'node:path'
import { errorMessage } from '../desk-error.ts'
import type { Embedder } from '../embedding/embedder.ts'
import { READING_VERSION, formatOf } from '../reading/read-document.ts'
import type { ReadDocument, ReadRequest } from '../reading/read-document.ts'
import type { IngestLimits } from '../settings.ts'
import type { DocumentStore } from '../store/document-store.ts'
import { sha256 } from '../store/sha256.ts'
import { embedMissing } from './embed-missing.ts'
import { readFileInRoot, resolveInRoots, rootNamed, sourceOf, walkFolder } from './roots.ts'
import { perStep } from './steps.ts'
import type { InTurn, Step } from './steps.ts'

/** Tells how far an ingest is; `done` never falls, `total` may grow when it becomes known how much is to be embedded. */
export type IngestProgress = (done: number, total: number, message: string) => void

/** Reads one document, off the event loop. */
export type ReadDocumentElsewhere = (request: ReadRequest, signal?: AbortSignal) => Promise<ReadDocument>

/** What an ingest needs. */
export interface IngestParts {
  store: DocumentStore
  embedder: Embedder
  read: ReadDocumentElsewhere
  step: Step
  inTurn: InTurn
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

/** What became of one source, as it is put on record. */
type Stored =
  | { outcome: 'added' | 'updated'; document: IngestedDocument; added: number; kept: number }
  | { outcome: 'unchanged' }
  | { outcome: 'failed'; source: string; reason: string }

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
  const { roots, limits, step } = parts
  // On record, so that every attempt is about the same files; those that have gone meanwhile are reported. Without what leads to
  // the folder, which may lie elsewhere on another machine.
  const found = await step('find files', async () => {
    const { path: target, root, source, isFolder } = await resolveInRoots(path, roots)
    const walked = isFolder ? await walkFolder(target, limits, signal) : { files: [target], tooDeep: [] }
    const inRoot = (file: string): string => relative(root, file)
    return {
      rootName: basename(root),
      source,
      isFolder,
      files: walked.files.map(inRoot),
      tooDeep: walked.tooDeep.map((folder) => sourceOf(folder, root)),
    }
  })
  const root = await rootNamed(found.rootName, roots)
  const report = emptyReport()
  const sources = found.files.map((inRoot): Source => {
    const file = join(root, inRoot)
    const load = async (): Promise<ReadRequest> => {
      const format = formatOf(file)
      if (!format) throw new Error(`Files with the ending "${extname(file)}" cannot be read.`)
      return { format, content: await readFileInRoot(file, root, limits.maxFileBytes) }
    }
    return { source: sourceOf(file, root), fileName: basename(file), load }
  })
  await storeAll(parts, sources, report, progress, signal)
  if (found.isFolder) {
    const deep = found.tooDeep.map((folder) => `${folder}/`)
    report.removed = await step('drop what has gone', () => dropMissing(parts, `${found.source}/`, sources, deep))
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

/** Drops documents whose source begins with `prefix` and is not among `sources` nor in a folder of `deep`. */
async function dropMissing(
  { store }: IngestParts,
  prefix: string,
  sources: readonly Source[],
  deep: readonly string[],
): Promise<string[]> {
  const kept = new Set(sources.map(({ source }) => source))
  const removed: string[] = []
  for (const { id, source } of await store.withSourcePrefix(prefix)) {
    if (kept.has(source) || deep.some((folder) => source.startsWith(folder))) continue
    await store.remove(id)
    removed.push(source)
  }
  return removed
}

async function storeAll(
  parts: IngestParts,
  sources: readonly Source[],
  report: IngestReport,
  progress: IngestProgress,
  signal?: AbortSignal,
): Promise<void> {
  const size = perStep(sources.length, 1)
  for (let from = 0; from < sources.length; from += size) {
    signal?.throwIfAborted()
    const group = sources.slice(from, from + size)
    progress(from, sources.length, `Reading ${group[0]!.source}`)
    const stored = await parts.step(`read files from ${from + 1}`, async () => {
      const outcomes: Stored[] = []
      for (const source of group) outcomes.push(await storeOne(parts, source, signal))
      return outcomes
    })
    for (const one of stored) addToReport(report, one)
  }
}

function addToReport(report: IngestReport, stored: Stored): void {
  if (stored.outcome === 'unchanged') report.unchanged++
  else if (stored.outcome === 'failed') report.failed.push({ source: stored.source, reason: stored.reason })
  else {
    report[stored.outcome].push(stored.document)
    report.passages.added += stored.added
    report.passages.kept += stored.kept
  }
}

/** @throws the reason of `signal`, and what the store throws; a file that can't be read is an outcome. */
async function storeOne(
  { store, read }: IngestParts,
  { source, fileName, title, load }: Source,
  signal?: AbortSignal,
): Promise<Stored> {
  signal?.throwIfAborted()
  const failed = (error: unknown): Stored => {
    signal?.throwIfAborted()
    return { outcome: 'failed', source, reason: errorMessage(error) }
  }
  let request: ReadRequest
  try {
    request = await load()
  } catch (error) {
    return failed(error)
  }
  const contentHash = sha256(`${READING_VERSION}/${request.format}/`, request.content)
  const before = await store.bySource(source)
  if (before?.contentHash === contentHash) return { outcome: 'unchanged' }
  let found: ReadDocument
  try {
    found = await read(request, signal)
  } catch (error) {
    return failed(error)
  }
  const { text, chunks, ...named } = found
  const name = basename(fileName, extname(fileName))
  const document = { id: before?.id ?? documentId(name, source), title: title ?? named.title ?? name, source }
  const { outcome, added, kept } = await store.put({ ...document, contentHash, text, chunks })
  return outcome === 'unchanged' ? { outcome } : { outcome, document, added, kept }
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
