import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { chunkBlocks, splitText } from '../../examples/docs-desk/reading/chunk.ts'
import type { Chunk } from '../../examples/docs-desk/reading/chunk.ts'
import { readMarkdown } from '../../examples/docs-desk/reading/markdown.ts'
import { readPlainText } from '../../examples/docs-desk/reading/plain-text.ts'

const words = fc
  .array(fc.stringMatching(/^[a-zäß]{1,12}$/), { minLength: 1, maxLength: 60 })
  .map((all) => all.join(' '))
const block = fc.oneof(
  { weight: 4, arbitrary: words },
  {
    weight: 3,
    arbitrary: fc.tuple(fc.integer({ min: 1, max: 6 }), words).map(([depth, title]) => `${'#'.repeat(depth)} ${title}`),
  },
  { weight: 1, arbitrary: words.map((code) => `\`\`\`js\n# ${code}\n\n\tnot a heading\n\`\`\``) },
  {
    weight: 1,
    arbitrary: fc
      .array(words, { minLength: 1, maxLength: 8 })
      .map((items) => items.map((item) => `- ${item}`).join('\n')),
  },
  { weight: 1, arbitrary: words.map((cell) => `| a | b |\n| --- | --- |\n| ${cell} | x |`) },
  { weight: 1, arbitrary: fc.string({ unit: 'grapheme', maxLength: 200 }) },
)
const markdown = fc.array(block, { maxLength: 25 }).map((blocks) => blocks.join('\n\n'))
const anything = fc.oneof(
  markdown,
  fc.string({ unit: 'binary', maxLength: 600 }).map((text) => text.toWellFormed()),
)

function check(text: string, chunks: readonly Chunk[], maxCharacters: number): void {
  let end = 0
  for (const chunk of chunks) {
    expect(chunk.start).toBeGreaterThanOrEqual(end)
    expect(text.slice(chunk.start, chunk.end)).toBe(chunk.text)
    expect(chunk.text.length).toBeLessThanOrEqual(maxCharacters)
    expect(chunk.text.trim()).not.toBe('')
    expect(chunk.text.isWellFormed()).toBe(true)
    expect(text.slice(end, chunk.start).trim()).toBe('')
    end = chunk.end
  }
  expect(text.slice(end).trim()).toBe('')
}

describe('chunking', () => {
  it('leaves nothing out, overlaps nowhere, keeps the bound and cuts no character in two, whatever the Markdown', () => {
    fc.assert(
      fc.property(anything, fc.integer({ min: 20, max: 400 }), (source, maxCharacters) => {
        const { text, blocks } = readMarkdown(source)
        check(text, chunkBlocks(text, blocks, maxCharacters), maxCharacters)
      }),
      { numRuns: 300 },
    )
  })

  it('holds the same for plain text', () => {
    fc.assert(
      fc.property(anything, fc.integer({ min: 2, max: 100 }), (source, maxCharacters) => {
        const { text, blocks } = readPlainText(source)
        check(text, chunkBlocks(text, blocks, maxCharacters), maxCharacters)
      }),
      { numRuns: 300 },
    )
  })

  it('gives every passage the headings it stands under, and starts a new one at each heading with text before it', () => {
    const source =
      '# Guide\n\nStart.\n\n## Setup\n\n### Linux\n\nUse apt.\n\n### macOS\n\nUse brew.\n\n## Use\n\nRun it.'
    const { text, blocks } = readMarkdown(source)
    expect(chunkBlocks(text, blocks).map(({ headingPath, text: passage }) => [headingPath.join('/'), passage])).toEqual(
      [
        ['Guide', '# Guide\n\nStart.'],
        ['Guide/Setup/Linux', '## Setup\n\n### Linux\n\nUse apt.'],
        ['Guide/Setup/macOS', '### macOS\n\nUse brew.'],
        ['Guide/Use', '## Use\n\nRun it.'],
      ],
    )
  })

  it('does not take a line of code for a heading', () => {
    const { text, blocks } = readMarkdown('# Real\n\n```sh\n# not a heading\n```')
    expect(chunkBlocks(text, blocks).map(({ headingPath }) => headingPath)).toEqual([['Real']])
  })

  it('cuts a long paragraph at the end of a sentence', () => {
    const sentence = 'This sentence has exactly some forty letters. '
    for (const piece of splitText(sentence.repeat(20), 200)) expect(piece.trim()).toMatch(/\.$/)
  })

  it('changes only passages near a change', () => {
    fc.assert(
      fc.property(fc.array(words, { minLength: 4, maxLength: 12 }), words, (sections, added) => {
        const render = (all: readonly string[]): string =>
          all.map((body, index) => `## Section ${index}\n\n${body}`).join('\n\n')
        const toTexts = (source: string): string[] => {
          const { text, blocks } = readMarkdown(source)
          return chunkBlocks(text, blocks).map((chunk) => chunk.text)
        }
        const before = new Set(toTexts(render(sections)))
        const changed = [...sections.slice(0, -1), `${sections.at(-1)!} ${added}`]
        expect(toTexts(render(changed)).filter((text) => !before.has(text)).length).toBeLessThanOrEqual(2)
      }),
    )
  })
})
