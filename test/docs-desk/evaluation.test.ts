import { join } from 'node:path'
import { readFile, readdir } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { mean, ndcgAt, recallAt } from '../../examples/docs-desk/evaluation/metrics.ts'
import { CORPUS_FOLDER, readQuestions, sectionKey } from '../../examples/docs-desk/evaluation/questions.ts'
import { readDocument } from '../../examples/docs-desk/reading/read-document.ts'

describe('the evaluation', () => {
  it('judges sections that the corpus really has and that passages stand directly under', async () => {
    const folder = fileURLToPath(CORPUS_FOLDER)
    const sections = new Set<string>()
    for (const file of await readdir(folder, { recursive: true })) {
      if (!file.endsWith('.md')) continue
      const { chunks } = await readDocument({ format: 'markdown', content: await readFile(join(folder, file)) })
      for (const { headingPath } of chunks)
        sections.add(sectionKey(file.replaceAll('\\', '/'), headingPath.at(-1) ?? ''))
    }
    const missing = readQuestions().flatMap(({ id, relevant }) =>
      relevant
        .filter(({ document, heading }) => !sections.has(sectionKey(document, heading)))
        .map(({ heading }) => `${id}: ${heading}`),
    )
    expect(missing).toEqual([])
  })

  it('has questions enough, each with an id of its own and an answer', () => {
    const questions = readQuestions()
    expect(questions.length).toBeGreaterThanOrEqual(40)
    expect(new Set(questions.map(({ id }) => id)).size).toBe(questions.length)
    for (const { id, relevant } of questions)
      expect(
        relevant.some(({ grade }) => grade === 2),
        id,
      ).toBe(true)
  })

  it('measures as the literature defines it', () => {
    const judgements = new Map([
      ['a', 2],
      ['b', 1],
    ])
    expect(recallAt(5, ['x', 'a', 'y'], judgements)).toBe(0.5)
    expect(recallAt(1, ['a'], judgements)).toBe(1)
    expect(ndcgAt(10, ['a', 'b'], judgements)).toBe(1)
    expect(ndcgAt(10, ['x', 'y'], judgements)).toBe(0)
    // Gains 3 and 1; a at rank 2 and b at rank 3, against a at 1 and b at 2.
    expect(ndcgAt(10, ['x', 'a', 'b'], judgements)).toBeCloseTo((3 / Math.log2(3) + 1 / 2) / (3 + 1 / Math.log2(3)))
    expect(mean([1, 2, 3])).toBe(2)
  })
})
