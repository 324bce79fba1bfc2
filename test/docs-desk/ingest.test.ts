import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { IngestReport } from '../../examples/docs-desk/ingest/ingest.ts'
import type { Step } from '../../examples/docs-desk/ingest/steps.ts'
import { DEFAULT_LIMITS } from '../../examples/docs-desk/settings.ts'
import { openSqliteStore } from '../../examples/docs-desk/store/sqlite-store.ts'
import { WordEmbedder, makePdf, openTestDesk, temporaryFolder } from './support.ts'

const counts = ({ added, updated, unchanged, removed, failed }: IngestReport): number[] => [
  added.length,
  updated.length,
  unchanged,
  removed.length,
  failed.length,
]

async function makeHandbook(): Promise<string> {
  const root = join(await temporaryFolder(), 'handbook')
  await mkdir(join(root, 'team'), { recursive: true })
  await writeFile(
    join(root, 'leave.md'),
    '# Leave\n\n## Holidays\n\nTwenty-eight days.\n\n## Illness\n\nTell your lead.\n',
  )
  await writeFile(join(root, 'team/oncall.html'), '<title>On call</title><h1>Nights</h1><p>Carry the pager.</p>')
  await writeFile(join(root, 'plan.pdf'), makePdf(['Ship in spring'], 'Plan'))
  return root
}

describe('ingest', () => {
  it('takes in every readable file of a folder and embeds each passage once', async () => {
    const embedder = new WordEmbedder()
    const desk = openTestDesk({ roots: [await makeHandbook()] }, embedder)
    const report = await desk.ingest({ path: '.' })
    expect(counts(report)).toEqual([3, 0, 0, 0, 0])
    expect(report.passages).toEqual({ added: 4, kept: 0, embedded: 4 })
    expect(embedder.embedded.map(({ text }) => text).toSorted()).toEqual(
      [
        '# Leave\n\n## Holidays\n\nTwenty-eight days.',
        '## Illness\n\nTell your lead.',
        '# Nights\n\nCarry the pager.',
        'Ship in spring',
      ].toSorted(),
    )
    expect((await desk.list()).map(({ title, source }) => [title, source])).toEqual([
      ['Leave', 'handbook/leave.md'],
      ['On call', 'handbook/team/oncall.html'],
      ['Plan', 'handbook/plan.pdf'],
    ])
  })

  it('reads and embeds nothing again where nothing changed', async () => {
    const embedder = new WordEmbedder()
    const desk = openTestDesk({ roots: [await makeHandbook()] }, embedder)
    await desk.ingest({ path: '.' })
    const before = await desk.list()
    embedder.embedded.length = 0
    const report = await desk.ingest({ path: '.' })
    expect(counts(report)).toEqual([0, 0, 3, 0, 0])
    expect(embedder.embedded).toEqual([])
    expect(await desk.list()).toEqual(before)
  })

  it('embeds only the changed passage of a changed document, which keeps its id', async () => {
    const root = await makeHandbook()
    const embedder = new WordEmbedder()
    const desk = openTestDesk({ roots: [root] }, embedder)
    await desk.ingest({ path: '.' })
    const [before] = (await desk.list()).filter(({ title }) => title === 'Leave')
    embedder.embedded.length = 0
    await writeFile(join(root, 'leave.md'), '# Leave\n\n## Holidays\n\nThirty days.\n\n## Illness\n\nTell your lead.\n')
    const report = await desk.ingest({ path: '.' })
    expect(counts(report)).toEqual([0, 1, 2, 0, 0])
    expect(report.passages).toEqual({ added: 1, kept: 1, embedded: 1 })
    expect(embedder.embedded.map(({ text }) => text)).toEqual(['# Leave\n\n## Holidays\n\nThirty days.'])
    expect((await desk.list()).find(({ title }) => title === 'Leave')?.id).toBe(before!.id)
    expect((await desk.search('twenty', 5)).passages.filter(({ text }) => text.includes('Twenty'))).toEqual([])
  })

  it('drops documents whose file has gone, and only those of the ingested folder', async () => {
    const root = await makeHandbook()
    const desk = openTestDesk({ roots: [root] })
    await desk.ingest({ path: '.' })
    await desk.ingest({ title: 'Loose note', text: 'Kept.' })
    await rm(join(root, 'leave.md'))
    await rm(join(root, 'team/oncall.html'))
    const report = await desk.ingest({ path: 'team' })
    expect(report.removed).toEqual(['handbook/team/oncall.html'])
    expect((await desk.list()).map(({ title }) => title)).toEqual(['Leave', 'Loose note', 'Plan'])
    expect((await desk.search('pager', 5)).passages.map(({ title }) => title)).not.toContain('On call')
  })

  it('reports a corrupt, an empty and a binary file, goes on with the others, and keeps what it had of a broken one', async () => {
    const root = await makeHandbook()
    const desk = openTestDesk({ roots: [root] })
    await desk.ingest({ path: '.' })
    await writeFile(join(root, 'plan.pdf'), '%PDF-1.4 broken')
    await writeFile(join(root, 'empty.md'), '')
    await writeFile(join(root, 'binary.txt'), Buffer.from([1, 2, 0, 3]))
    await writeFile(join(root, 'new.md'), 'New.')
    const report = await desk.ingest({ path: '.' })
    expect(report.failed.map(({ source }) => source)).toEqual([
      'handbook/binary.txt',
      'handbook/empty.md',
      'handbook/plan.pdf',
    ])
    for (const { reason } of report.failed) expect(reason).not.toBe('')
    expect(report.added.map(({ source }) => source)).toEqual(['handbook/new.md'])
    expect((await desk.search('spring', 1)).passages[0]?.title).toBe('Plan')
  })

  it('reports a file over the size bound and a file that cannot be read in time', async () => {
    const root = await makeHandbook()
    const small = openTestDesk({ roots: [root], limits: { ...DEFAULT_LIMITS, maxFileBytes: 90 } })
    expect((await small.ingest({ path: '.' })).failed).toEqual([
      { source: 'handbook/plan.pdf', reason: expect.stringContaining('at most 90 are read') },
    ])
    const hasty = openTestDesk({ roots: [root], limits: { ...DEFAULT_LIMITS, readTimeoutMs: 1 } })
    expect((await hasty.ingest({ path: 'leave.md' })).failed).toEqual([
      { source: 'handbook/leave.md', reason: 'It took longer than 1 ms.' },
    ])
  })

  it('says that a file of another kind cannot be read', async () => {
    const root = await makeHandbook()
    await writeFile(join(root, 'picture.png'), 'x')
    const report = await openTestDesk({ roots: [root] }).ingest({ path: 'picture.png' })
    expect(report.failed[0]?.reason).toContain('".png"')
  })

  it('tells its progress: rising, and whole at the end', async () => {
    const desk = openTestDesk({ roots: [await makeHandbook()] })
    const told: [number, number][] = []
    await desk.ingest({ path: '.' }, { progress: (done, total) => told.push([done, total]) })
    expect(told.map(([done]) => done)).toEqual(told.map(([done]) => done).toSorted((a, b) => a - b))
    expect(told.at(0)).toEqual([0, 3])
    expect(told.at(-1)).toEqual([7, 7])
  })

  it('stops at an abort with the reason of the signal, and goes on from there the next time', async () => {
    const embedder = new WordEmbedder()
    const desk = openTestDesk({ roots: [await makeHandbook()] }, embedder)
    const controller = new AbortController()
    const reason = new Error('enough')
    const stopAfterReading = (_done: number, _total: number, message: string): void => {
      if (message.startsWith('Embedded')) controller.abort(reason)
    }
    await expect(desk.ingest({ path: '.' }, { progress: stopAfterReading, signal: controller.signal })).rejects.toBe(
      reason,
    )
    expect(embedder.embedded).toEqual([])
    const { passages, warnings } = await desk.search('pager', 5)
    expect(passages[0]?.title).toBe('On call')
    expect(warnings).toEqual([expect.stringContaining('4 passages are found by their words alone')])
    const report = await desk.ingest({ path: '.' })
    expect(counts(report)).toEqual([0, 0, 3, 0, 0])
    expect(report.passages.embedded).toBe(4)
  })

  it('keeps documents whose passages could not be embedded, says so, and embeds them the next time', async () => {
    const embedder = new WordEmbedder()
    embedder.failure = new Error('The model is away.')
    const desk = openTestDesk({ roots: [await makeHandbook()] }, embedder)
    const report = await desk.ingest({ path: '.' })
    expect(counts(report)).toEqual([3, 0, 0, 0, 0])
    expect(report.warnings).toEqual([expect.stringMatching(/^4 passages could not be embedded.*The model is away\./)])
    embedder.failure = undefined
    expect((await desk.ingest({ path: '.' })).passages.embedded).toBe(4)
    expect((await desk.search('pager', 5)).warnings).toEqual([])
  })

  it('goes on behind what is on record, and does nothing again that was done but not recorded', async () => {
    const root = await makeHandbook()
    const paragraphs = Array.from({ length: 40 }, (_, index) => `## Part ${index}\n\nSentence number ${index}.`)
    await writeFile(join(root, 'long.md'), paragraphs.join('\n\n'))
    const embedder = new WordEmbedder()
    const desk = openTestDesk({ roots: [root] }, embedder)
    const record = new Map<string, string>()
    let dies = 'embed batch 2'
    const step: Step = async (name, work) => {
      const known = record.get(name)
      if (known !== undefined) return JSON.parse(known) as Awaited<ReturnType<typeof work>>
      const value = await work()
      if (name === dies) throw new Error('The process was killed.')
      record.set(name, JSON.stringify(value))
      return value
    }
    await expect(desk.ingest({ path: '.' }, { step })).rejects.toThrow('killed')
    expect(embedder.embedded.length).toBe(32)
    dies = ''
    const report = await desk.ingest({ path: '.' }, { step })
    expect(counts(report)).toEqual([4, 0, 0, 0, 0])
    expect(embedder.embedded.length).toBe(44)
    expect(new Set(embedder.embedded.map(({ text }) => text)).size).toBe(44)
    expect([...record.keys()].filter((name) => name.startsWith('embed'))).toEqual([
      'embed batch 1',
      'embed batch 2',
      'embed batch 3',
    ])
  })

  it('embeds each passage once where several are under way, and stores each document once', async () => {
    const embedder = new WordEmbedder()
    const desk = openTestDesk({ roots: [await makeHandbook()] }, embedder)
    const reports = await Promise.all([1, 2, 3].map(() => desk.ingest({ path: '.' })))
    expect(reports.reduce((sum, { added }) => sum + added.length, 0)).toBe(3)
    expect(reports.map(({ added, unchanged }) => added.length + unchanged)).toEqual([3, 3, 3])
    expect(embedder.embedded.length).toBe(4)
  })

  it('embeds everything again after the model was changed, and never compares vectors of two models', async () => {
    const root = await makeHandbook()
    const file = join(await temporaryFolder(), 'desk.db')
    const first = openTestDesk({ roots: [root] }, new WordEmbedder('first'), openSqliteStore(file))
    await first.ingest({ path: '.' })
    await first.close()
    const embedder = new WordEmbedder('second')
    const store = openSqliteStore(file)
    const second = openTestDesk({ roots: [root] }, embedder, store)
    const query = await embedder.embedQuery('pager')
    expect(await store.searchVectors('second', query, 5)).toEqual([])
    const report = await second.ingest({ path: 'plan.pdf' })
    expect(counts(report)).toEqual([0, 0, 1, 0, 0])
    expect(report.passages.embedded).toBe(4)
    expect((await store.searchVectors('second', query, 5)).length).toBe(4)
  })

  it('replaces a text of the same title', async () => {
    const desk = openTestDesk()
    await desk.ingest({ title: 'Door code', text: 'The code is 1234.' })
    const report = await desk.ingest({ title: 'Door code', text: 'The code is 9876.' })
    expect(counts(report)).toEqual([0, 1, 0, 0, 0])
    const [only, ...rest] = await desk.list()
    expect(rest).toEqual([])
    expect((await desk.read(only!.id)).text).toBe('The code is 9876.')
  })

  it('does not hold the event loop while it reads a big document', async () => {
    const root = await makeHandbook()
    const paragraph = 'Many words about very little, and then some more of them. '.repeat(10)
    await writeFile(join(root, 'big.md'), `# Big\n\n${`${paragraph}\n\n`.repeat(1_500)}`)
    const desk = openTestDesk({ roots: [root] })
    let longestMs = 0
    let last = performance.now()
    const timer = setInterval(() => {
      longestMs = Math.max(longestMs, performance.now() - last)
      last = performance.now()
    }, 5)
    await desk.ingest({ path: '.' })
    clearInterval(timer)
    // Storing its 1,500 passages is the longest single call; the bound leaves room for a slow machine.
    expect(longestMs).toBeLessThan(1_000)
    expect((await desk.list()).find(({ title }) => title === 'Big')!.passages).toBeGreaterThan(800)
  })
})

describe('forget', () => {
  it('removes a document by id or title with all its passages and vectors', async () => {
    const embedder = new WordEmbedder()
    const store = openSqliteStore(':memory:')
    const desk = openTestDesk({ roots: [await makeHandbook()] }, embedder, store)
    await desk.ingest({ path: '.' })
    const plan = (await desk.list()).find(({ title }) => title === 'Plan')!
    await desk.forget(plan.id)
    await desk.forget('leave')
    expect((await desk.list()).map(({ title }) => title)).toEqual(['On call'])
    expect(await store.searchText('spring', 5)).toEqual([])
    expect((await store.searchVectors(embedder.model, await embedder.embedQuery('spring'), 5)).length).toBe(1)
    expect(await store.text(plan.id)).toBeUndefined()
  })

  it('says what to do for an unknown and for an ambiguous title', async () => {
    const desk = openTestDesk({ roots: [await makeHandbook()] })
    await expect(desk.forget('Nothing')).rejects.toThrow('There is no document "Nothing"')
    await desk.ingest({ path: 'leave.md' })
    await desk.ingest({ title: 'Leave', text: 'Another.' })
    const ids = (await desk.list()).map(({ id }) => id)
    await expect(desk.forget('Leave')).rejects.toThrow(`Use an id: ${ids.join(', ')}.`)
    await desk.forget(ids[0]!)
    await desk.forget('Leave')
    expect(await desk.list()).toEqual([])
  })
})
