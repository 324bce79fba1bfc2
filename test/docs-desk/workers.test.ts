import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { describe, expect, it, onTestFinished } from 'vitest'
import { createLocalEmbedder } from '../../examples/docs-desk/embedding/local-embedder.ts'
import { WorkerClient } from '../../examples/docs-desk/workers/worker-client.ts'

const run = promisify(execFile)

/** A worker that does what it is asked: answers, fails, never answers, ends, or fills its memory. */
const WORKER = new URL(
  `data:text/javascript,${encodeURIComponent(`
    import { parentPort, threadId } from 'node:worker_threads'
    const kept = []
    parentPort.on('message', ({ id, request }) => {
      if (request === 'fail') parentPort.postMessage({ id, error: 'as asked' })
      else if (request === 'hang') for (;;);
      else if (request === 'exit') process.exit(7)
      else if (request === 'throw') throw new Error('uncaught')
      else if (request === 'fill') for (;;) kept.push(new Array(1e5).fill({}))
      else parentPort.postMessage({ id, response: [request, threadId] })
    })`)}`,
)

function openClient(timeoutMs = 5_000): WorkerClient<string, [string, number]> {
  const client = new WorkerClient<string, [string, number]>(WORKER, { timeoutMs, maxHeapMebibytes: 32 })
  onTestFinished(() => client.close())
  return client
}

describe('a worker thread', () => {
  it('answers in the order asked, in one thread', async () => {
    const client = openClient()
    const answers = await Promise.all(['a', 'b', 'c'].map((request) => client.call(request)))
    expect(answers.map(([request]) => request)).toEqual(['a', 'b', 'c'])
    expect(new Set(answers.map(([, thread]) => thread)).size).toBe(1)
  })

  it.each([
    ['fail', 'as asked'],
    ['exit', 'exit code 7'],
    ['throw', 'uncaught'],
    ['fill', /memory/],
  ])('fails the request alone that asked it to %s, and serves the next', async (request, message) => {
    const client = openClient()
    const failed = client.call(request)
    const next = client.call('next')
    await expect(failed).rejects.toThrow(message)
    expect((await next)[0]).toBe('next')
  })

  it('is ended when a request takes too long, and started anew for the next', async () => {
    const client = openClient(300)
    const [, first] = await client.call('first')
    await expect(client.call('hang')).rejects.toThrow('longer than 300 ms')
    const [, second] = await client.call('second')
    expect(second).not.toBe(first)
  })

  it('gives the reason of an abort at once, also to a request that waits in line', async () => {
    const client = openClient(300)
    const reason = new Error('enough')
    const controller = new AbortController()
    const hanging = client.call('hang')
    const waiting = client.call('waiting', controller.signal)
    controller.abort(reason)
    await expect(waiting).rejects.toBe(reason)
    await expect(hanging).rejects.toThrow('longer')
    await expect(client.call('a', AbortSignal.abort(reason))).rejects.toBe(reason)
  })

  it('fails what is under way and what comes later once it is closed', async () => {
    const client = openClient()
    await client.call('first')
    const failed = expect(client.call('hang')).rejects.toThrow('closed')
    // One turn of the event loop, and the request is with the thread.
    await new Promise((resolve) => setImmediate(resolve))
    await client.close()
    await failed
    await expect(client.call('later')).rejects.toThrow('closed')
    await client.close()
  })
})

describe('the built-in embedding model', () => {
  it('puts texts of like meaning nearer than others, and cuts long passages into several vectors', async () => {
    const embedder = createLocalEmbedder()
    onTestFinished(() => embedder.close())
    const passage = (text: string): { title: string; headingPath: string[]; text: string } => ({
      title: 'Handbook',
      headingPath: [],
      text,
    })
    const [leave, printer, long, code] = await embedder.embedPassages([
      passage('Employees have twenty-eight vacation days a year.'),
      passage('The printer is on the second floor.'),
      passage('Some sentence that says something. '.repeat(30)),
      passage('```js\nconst x = 1\n```'),
    ])
    const query = await embedder.embedQuery('How much holiday do I get?')
    const cosine = (vector: Float32Array): number =>
      vector.reduce((sum, value, index) => sum + value * query[index]!, 0)
    expect(query.length).toBe(512)
    expect(Math.hypot(...query)).toBeCloseTo(1, 4)
    expect(cosine(leave![0]!)).toBeGreaterThan(cosine(printer![0]!) + 0.1)
    expect(long!.length).toBeGreaterThan(3)
    expect(code!.length).toBe(1)
  })

  it('does not keep a process alive that is done, even if nobody closed it', async () => {
    const module = new URL('../../examples/docs-desk/embedding/local-embedder.ts', import.meta.url)
    const script = `
      import { createLocalEmbedder } from ${JSON.stringify(module.href)}
      const vector = await createLocalEmbedder().embedQuery('hello')
      console.log(vector.length)`
    const { stdout } = await run(process.execPath, ['--input-type=module', '-e', script], { timeout: 15_000 })
    expect(stdout.trim()).toBe('512')
  })

  it('can be closed in the middle of its work', async () => {
    const embedder = createLocalEmbedder()
    await embedder.embedQuery('warm up')
    const passages = Array.from({ length: 50 }, (_, index) => ({
      title: 'T',
      headingPath: [],
      text: `Sentence ${index}. `.repeat(20),
    }))
    const working = embedder.embedPassages(passages)
    const failed = expect(working).rejects.toThrow('closed')
    await embedder.close()
    await failed
  })
})
