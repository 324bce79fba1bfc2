import * as z from 'zod'
import type { IngestReport } from '../ingest/ingest.ts'

const MAX_PATH_CHARACTERS = 4_096
const MAX_TITLE_CHARACTERS = 200
const MAX_TEXT_CHARACTERS = 2_000_000
/** Documents, files and sources named in one result; counts are always whole. */
const MAX_NAMED = 100

/** `{ path }` or `{ title, text }`. */
export const ingestInput = z
  .object({
    path: z
      .string()
      .max(MAX_PATH_CHARACTERS)
      .optional()
      .describe('A file or folder, absolute or relative to an allowed folder; "." is all of it'),
    title: z
      .string()
      .trim()
      .min(1)
      .max(MAX_TITLE_CHARACTERS)
      .optional()
      .describe('Title of a text; replaces the text of that title'),
    text: z.string().min(1).max(MAX_TEXT_CHARACTERS).optional().describe('The text, read as Markdown'),
  })
  .refine(
    ({ path, title, text }) =>
      path === undefined ? title !== undefined && text !== undefined : title === undefined && text === undefined,
    { message: 'give either path, or title and text' },
  )

const documents = z.array(z.object({ id: z.string(), title: z.string(), source: z.string() }))

/** What the tool `ingest` returns. */
export const ingestOutput = z.object({
  counts: z.object({
    added: z.number(),
    updated: z.number(),
    unchanged: z.number(),
    removed: z.number(),
    failed: z.number(),
  }),
  passages: z.object({
    added: z.number(),
    kept: z.number().describe('Passages of updated documents that stayed as they were'),
    embedded: z.number(),
  }),
  added: documents,
  updated: documents,
  removed: z.array(z.string()),
  failed: z.array(z.object({ source: z.string(), reason: z.string() })),
  warnings: z.array(z.string()),
})

export function toIngestOutput(report: IngestReport): z.infer<typeof ingestOutput> {
  const { added, updated, unchanged, removed, failed, passages, warnings } = report
  return {
    counts: {
      added: added.length,
      updated: updated.length,
      unchanged,
      removed: removed.length,
      failed: failed.length,
    },
    passages,
    added: added.slice(0, MAX_NAMED),
    updated: updated.slice(0, MAX_NAMED),
    removed: removed.slice(0, MAX_NAMED),
    failed: failed.slice(0, MAX_NAMED),
    warnings,
  }
}

/** The same for people, in a few lines. */
export function describeIngest(report: IngestReport): string {
  const { added, updated, unchanged, removed, failed, passages, warnings } = report
  const failures = failed.slice(0, MAX_NAMED).map(({ source, reason }) => `Not taken in: ${source}: ${reason}`)
  return [
    `${added.length} documents added, ${updated.length} updated, ${unchanged} unchanged, ${removed.length} removed, ${failed.length} failed.`,
    `${passages.embedded} passages embedded.`,
    ...failures,
    ...warnings,
  ].join('\n')
}
