import * as z from 'zod'
import type { AskResult } from '../docs-desk.ts'
import { describePassages, passageOutput, toPassageOutput } from './passage-output.ts'

/** What the tool `ask` returns: an answer with its citations, or passages with the reason why there is no answer. */
export const askOutput = z.object({
  kind: z.enum(['answer', 'passages']),
  answer: z.string().optional().describe('Only with kind "answer"'),
  citations: z
    .array(z.object({ number: z.number(), passage: passageOutput }))
    .optional()
    .describe('The passages that the answer names as [number]; only with kind "answer"'),
  reason: z.string().optional().describe('Why there is no answer; only with kind "passages"'),
  passages: z.array(passageOutput).optional().describe('Only with kind "passages"'),
  warnings: z.array(z.string()),
})

export function toAskOutput(result: AskResult): z.infer<typeof askOutput> {
  const { kind, warnings } = result
  if (result.kind === 'passages')
    return { kind, reason: result.reason, passages: result.passages.map(toPassageOutput), warnings }
  const citations = result.citations.map(({ number, passage }) => ({ number, passage: toPassageOutput(passage) }))
  return { kind, answer: result.answer, citations, warnings }
}

/** The same for people. */
export function describeAsk(result: AskResult): string {
  if (result.kind === 'passages') {
    const passages = result.passages.length === 0 ? [] : [describePassages(result.passages)]
    const label = `This is not an answer. ${result.reason}`
    return [passages.length === 0 ? label : `${label} The best passages:`, ...passages, ...result.warnings].join('\n\n')
  }
  const sources = result.citations.map(
    ({ number, passage }) => `[${number}] ${[passage.title, ...passage.headingPath].join(' > ')} (${passage.source})`,
  )
  const footer = sources.length === 0 ? 'The answer names no passage.' : sources.join('\n')
  return [result.answer, footer, ...result.warnings].join('\n\n')
}
