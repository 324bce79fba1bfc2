import { HoldfastError, content, defineTool } from 'holdfast'
import type { Context, ToolDefinition } from 'holdfast'
import type { DocsDesk } from '../docs-desk.ts'
import { FORMATS, fileName, render } from '../report/render.ts'
import type { Format } from '../report/render.ts'
import { forCaller, mayPass } from './errors.ts'
import * as z from 'zod'

const MAX_TOPIC_CHARACTERS = 500

/** The tool that writes a report on a topic. */
export function defineReport(desk: () => DocsDesk): ToolDefinition {
  return defineTool({
    name: 'report',
    title: 'Write a report',
    description:
      'Writes a report on a topic from the documents, as a file: for each document a summary of what it says, with its sources. Asks for the format where the client can, and returns a link.',
    input: z.object({ topic: z.string().trim().min(1).max(MAX_TOPIC_CHARACTERS).describe('What it is to be about') }),
    output: z.object({
      written: z
        .object({
          uri: z.string().describe('Resource with the report'),
          name: z.string(),
          mimeType: z.string(),
          documents: z.number(),
          passages: z.number(),
        })
        .optional()
        .describe('Missing where the user wants none, or no document holds anything on the topic'),
      warnings: z.array(z.string()),
    }),
    annotations: { readOnlyHint: true, openWorldHint: false },
    task: { maxAttempts: 5, retryable: mayPass },
    run: forCaller(async ({ topic }, ctx) => {
      const format = await chooseFormat(ctx, topic)
      if (format === undefined)
        return content.result({
          content: [content.text('No report was written.')],
          structuredContent: { warnings: [] },
        })
      const { signal, progress, step } = ctx
      const report = await desk().report(topic, { signal, progress, step })
      const { sections, warnings } = report
      if (sections.length === 0)
        return content.result({
          content: [content.text(['No document holds anything on this.', ...warnings].join('\n'))],
          structuredContent: { warnings },
        })
      const name = fileName(topic, format)
      const mimeType = `text/${format}`
      // The link is on record, so that a later run of the handler finds the file of the first.
      const link = await step('file', () =>
        ctx.artifacts.put(render(report, format), { name, mimeType, title: `Report: ${topic}` }),
      )
      const passages = sections.reduce((sum, section) => sum + section.passages.length, 0)
      const text = `A report on "${topic}", from ${passages} passages of ${sections.length} documents: ${name}`
      return content.result({
        content: [content.text([text, ...warnings].join('\n')), { ...link }],
        structuredContent: {
          written: { uri: link.uri, name, mimeType, documents: sections.length, passages },
          warnings,
        },
      })
    }),
  })
}

const CHOOSE = z.object({ format: z.enum(FORMATS).default('markdown').describe('The format of the file') })

/** Asks the user. For a client that can't ask it is Markdown; `undefined`: the user wants no report. */
async function chooseFormat(ctx: Context, topic: string): Promise<Format | undefined> {
  try {
    const { action, content: form } = await ctx.elicit('format', {
      message: `In which format shall the report on "${topic}" be?`,
      schema: CHOOSE,
    })
    return action === 'accept' ? form.format : undefined
  } catch (error) {
    if (error instanceof HoldfastError && error.code === 'client_capability_missing') return 'markdown'
    throw error
  }
}
