import { connect, type Answer, type TestClient } from 'holdfast/testing'
import { describe, expect, it, onTestFinished } from 'vitest'
import { fileName, render } from '../../examples/docs-desk/report/render.ts'
import type { Report } from '../../examples/docs-desk/report/render.ts'
import { defineDocsDeskServer } from '../../examples/docs-desk/server-definition.ts'
import { until } from '../servers/tools.ts'
import { chatAnswer, openTestDesk, startEndpoint } from './support.ts'
import type { DocsDesk } from '../../examples/docs-desk/docs-desk.ts'

async function withNotes(desk: DocsDesk): Promise<DocsDesk> {
  await desk.ingest({
    title: 'Coffee',
    text: '# Coffee\n\n## Care\n\nThe machine is red. Descale the machine every second month. It takes an hour.',
  })
  await desk.ingest({ title: 'Printer', text: '# Printer\n\nThe printer is a machine that jams.' })
  return desk
}

describe('a report', () => {
  it('is made of the sentences that say most on the topic where there is no language model, and says so', async () => {
    const desk = await withNotes(openTestDesk())
    const report = await desk.report('descale the machine')
    expect(report.sections.map(({ title, uri }) => [title, uri.startsWith('doc://')])).toEqual([
      ['Coffee', true],
      ['Printer', true],
    ])
    const [coffee] = report.sections
    expect(coffee!.summary).toEqual({
      by: 'extract',
      text: expect.stringContaining('Descale the machine every second month. [1]') as string,
    })
    const text = render(report, 'markdown')
    expect(text).toMatch(/^# Report: descale the machine\n\nNo language model is set up/)
    expect(text).toContain('1. Coffee > Care (text:Coffee)'.replaceAll('>', String.raw`\>`))
  })

  it('leaves out what has nothing to do with the topic', async () => {
    const desk = await withNotes(openTestDesk())
    await desk.ingest({ title: 'Beach', text: '# Beach\n\nSand and sea.' })
    expect((await desk.search('descale', 5)).passages.map(({ title }) => title)).toContain('Beach')
    expect((await desk.report('descale')).sections.map(({ title }) => title)).toEqual(['Coffee'])
  })

  it('is summed up document by document by the language model, from the passages of each', async () => {
    const { baseUrl, received } = await startEndpoint(({ body }) =>
      chatAnswer(
        JSON.stringify(body).includes('Descale') ? 'Every second month [1], as nobody says [7].' : 'It jams [1].',
      ),
    )
    const desk = await withNotes(openTestDesk({ endpoint: { baseUrl, chatModel: 'test-model', timeoutMs: 5_000 } }))
    const told: [number, number, string][] = []
    const steps: string[] = []
    const { sections } = await desk.report('machine', {
      progress: (...args) => told.push(args),
      step: (name, work) => {
        steps.push(name)
        return work()
      },
    })
    expect(new Set(sections.map(({ summary }) => summary.text))).toEqual(
      new Set(['Every second month [1], as nobody says.', 'It jams [1].']),
    )
    expect(received.length).toBe(2)
    expect(steps).toEqual(['passages', ...sections.map(({ uri }) => `summary of ${uri.slice('doc://'.length)}`)])
    expect(told.map(([done]) => done)).toEqual([1, 2, 3])
    expect(new Set(told.map(([, total]) => total))).toEqual(new Set([4]))
  })

  it('keeps what documents say from becoming markup', () => {
    const evil = '<script>alert("x")</script> [link](http://x) # *b* & `c`'
    const report: Report = {
      topic: evil,
      sections: [
        {
          title: evil,
          uri: 'doc://x',
          summary: { by: 'model', text: `${evil} [1]` },
          passages: [
            {
              chunk: 1,
              document: 'x',
              title: evil,
              source: evil,
              headingPath: [evil],
              text: evil,
              start: 0,
              end: 1,
              score: 1,
            },
          ],
        },
      ],
      warnings: [evil],
    }
    const html = render(report, 'html')
    expect(html).not.toContain('<script>')
    expect(html).toContain('&lt;script&gt;alert(&quot;x&quot;)')
    const markdown = render(report, 'markdown')
    expect(markdown).not.toMatch(/(?<!\\)<script|(?<!\\)\[link|(?<!\\)\*b/)
    expect(markdown).toContain('[1]')
  })

  it.each([
    ['Holidays & illness', 'html', 'report-holidays-illness.html'],
    ['../../etc/passwd', 'markdown', 'report-etc-passwd.md'],
    ['会議室', 'markdown', 'report-on-a-topic.md'],
  ] as const)('on "%s" in %s is a file of a plain name', (topic, format, name) => {
    expect(fileName(topic, format)).toBe(name)
  })
})

describe('a client that knows tasks', () => {
  it('gets a handle, is asked for the format while no worker waits, and finds the file in the result', async () => {
    const desk = await withNotes(openTestDesk())
    const client = await connect(
      defineDocsDeskServer(() => desk),
      { capabilities: { extensions: { 'io.modelcontextprotocol/tasks': {} }, elicitation: {} } },
    )
    onTestFinished(() => client.close())
    const { taskId, resultType } = await client.request('tools/call', {
      name: 'report',
      arguments: { topic: 'machine' },
    })
    expect(resultType).toBe('task')
    const reach = async (status: string): Promise<Record<string, unknown>> => {
      let task: Record<string, unknown> = {}
      await until(`The task being ${status}`, 10_000, async () => {
        task = await client.request('tasks/get', { taskId })
        return task['status'] === status
      })
      return task
    }
    expect(await reach('input_required')).toMatchObject({ inputRequests: { format: { method: 'elicitation/create' } } })
    await client.request('tasks/update', {
      taskId,
      inputResponses: { format: { action: 'accept', content: { format: 'html' } } },
    })
    const { result } = (await reach('completed')) as { result: { structuredContent: { written: { uri: string } } } }
    const [file] = await client.readResource(result.structuredContent.written.uri)
    expect(file).toMatchObject({ mimeType: 'text/html', text: expect.stringContaining('<h2>Printer</h2>') as string })
  })
})

describe.each(['2026-07-28', '2025-11-25'] as const)('the tool report, asked at %s', (revision) => {
  const open = async (answers?: Record<string, Answer>): Promise<TestClient> => {
    const desk = await withNotes(openTestDesk())
    const client = await connect(
      defineDocsDeskServer(() => desk),
      { revision, ...(answers && { answers }) },
    )
    onTestFinished(() => client.close())
    return client
  }
  const read = async (client: TestClient, uri: string): Promise<{ text: string; mimeType?: string }> =>
    (await client.readResource(uri))[0] as { text: string; mimeType?: string }

  it('asks for the format, and links to a file that the caller reads', async () => {
    const client = await open({ format: { format: 'html' } })
    const { structuredContent } = await client.callTool('report', { topic: 'descale the machine' })
    const { written } = structuredContent as { written: { uri: string } }
    expect(written).toMatchObject({
      name: 'report-descale-the-machine.html',
      mimeType: 'text/html',
      documents: 2,
      passages: 2,
    })
    const { text, mimeType } = await read(client, written.uri)
    expect(mimeType).toBe('text/html')
    expect(text).toContain('<h2>Coffee</h2>')
  })

  it('writes none where the user says so, and none on what no document knows', async () => {
    const answers: Record<string, Answer> = { format: 'decline' }
    const client = await open(answers)
    expect((await client.callTool('report', { topic: 'machine' })).text).toBe('No report was written.')
    answers['format'] = { format: 'markdown' }
    const desk = openTestDesk()
    const empty = await connect(
      defineDocsDeskServer(() => desk),
      { revision, answers },
    )
    onTestFinished(() => empty.close())
    expect((await empty.callTool('report', { topic: 'machine' })).text).toBe('No document holds anything on this.')
  })

  it('is Markdown for a client that can not be asked', async () => {
    const client = await open()
    const { structuredContent } = await client.callTool('report', { topic: 'machine' })
    const { written } = structuredContent as { written: { uri: string } }
    expect(written).toMatchObject({ name: 'report-machine.md', mimeType: 'text/markdown' })
    expect((await read(client, written.uri)).text).toMatch(/^# Report: machine\n/)
  })
})
