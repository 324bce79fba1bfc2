import { content, defineTool } from 'holdfast'
import type { ToolDefinition } from 'holdfast'
import type { DocsDesk } from '../docs-desk.ts'
import { forCaller, mayPass } from './errors.ts'
import { describeIngest, ingestInput, ingestOutput, toIngestOutput } from './ingest-output.ts'
import { uriOf } from './passage-output.ts'

const HOUR_MS = 3_600_000

/** The tool that takes documents in. */
export function defineIngest(desk: () => DocsDesk): ToolDefinition {
  return defineTool({
    name: 'ingest',
    title: 'Take in documents',
    description:
      'Adds a file or folder (Markdown, HTML, text, PDF) from the allowed folders, or a text under a title, to the knowledge base. Doing it again updates only what changed, and drops documents whose file is gone from the folder.',
    input: ingestInput,
    output: ingestOutput,
    annotations: { destructiveHint: true, idempotentHint: true, openWorldHint: false },
    // A big folder takes long on a slow model; each attempt goes on behind the steps of the one before.
    task: { timeoutMs: 6 * HOUR_MS, maxAttempts: 5, retryable: mayPass },
    run: forCaller(async (what, ctx) => {
      const { path, title, text } = what
      const report = await desk().ingest(path === undefined ? { title: title!, text: text! } : { path }, {
        signal: ctx.signal,
        progress: ctx.progress,
        step: ctx.step,
      })
      if (report.added.length + report.removed.length > 0) ctx.notify.resourcesChanged()
      for (const { id } of report.updated) ctx.notify.resourceUpdated(uriOf(id))
      return content.result({
        content: [content.text(describeIngest(report))],
        structuredContent: toIngestOutput(report),
      })
    }),
  })
}
