import type { FoundPassage } from '../search/search.ts'
import type { Summary } from './summarize.ts'

/** How a report can be written. */
export const FORMATS = ['markdown', 'html'] as const
export type Format = (typeof FORMATS)[number]

/** What one document says on the topic of a report. */
export interface ReportSection {
  title: string
  uri: string
  summary: Summary
  /** What the summary is made from; it names them by their place, from 1. */
  passages: readonly FoundPassage[]
}

/** A report on a topic, the most telling document first. */
export interface Report {
  topic: string
  sections: readonly ReportSection[]
  warnings: readonly string[]
}

const EXTRACTED = 'No language model is set up: these are sentences of the documents, in their own words.'

/** The report as a file. What comes from documents and models is escaped: it is text, and never markup of the report. */
export function render(report: Report, format: Format): string {
  return format === 'html' ? toHtml(report) : toMarkdown(report)
}

/** Name of the file, of characters that every file system takes. */
export function fileName(topic: string, format: Format): string {
  const words = topic
    .normalize('NFKD')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, 60)
    .replace(/^-+|-+$/g, '')
  return `report-${words || 'on-a-topic'}.${format === 'html' ? 'html' : 'md'}`
}

const remarks = ({ sections, warnings }: Report): string[] => [
  ...(sections.some(({ summary }) => summary.by === 'extract') ? [EXTRACTED] : []),
  ...warnings,
]
const placeOf = ({ headingPath, source }: FoundPassage): string => `${headingPath.join(' > ') || source} (${source})`

function toMarkdown(report: Report): string {
  const text = (value: string): string => value.replace(/[\\`*_[\]<>#|~&]/g, '\\$&').replace(/\s+/g, ' ')
  const sections = report.sections.map(({ title, uri, summary, passages }) =>
    [
      `## ${text(title)}`,
      // The numbers of passages need no escape, and read better without.
      text(summary.text).replace(/\\\[(\d+)\\\]/g, '[$1]'),
      passages.map((passage, index) => `${index + 1}. ${text(placeOf(passage))}`).join('\n'),
      `<${uri}>`,
    ].join('\n\n'),
  )
  return `${[`# Report: ${text(report.topic)}`, ...remarks(report).map(text), ...sections].join('\n\n')}\n`
}

function toHtml(report: Report): string {
  const escapes: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' }
  const text = (value: string): string => value.replace(/[&<>"]/g, (character) => escapes[character]!)
  const sections = report.sections.map(
    ({ title, uri, summary, passages }) => `<section>
<h2>${text(title)}</h2>
<p>${text(summary.text)}</p>
<ol>
${passages.map((passage) => `<li>${text(placeOf(passage))}</li>`).join('\n')}
</ol>
<p>${text(uri)}</p>
</section>`,
  )
  const heading = `Report: ${text(report.topic)}`
  const notes = remarks(report).map((remark) => `<p><em>${text(remark)}</em></p>`)
  return `<!doctype html>
<html>
<head><meta charset="utf-8"><title>${heading}</title></head>
<body>
<h1>${heading}</h1>
${[...notes, ...sections].join('\n')}
</body>
</html>
`
}
