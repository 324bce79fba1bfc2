import { setTimeout as sleep } from 'node:timers/promises'
import { defineTool, protocolError, toolError } from 'holdfast'
import * as z from 'zod'

/** No task, whatever the client can do: it is answered at once. */
export const greet = defineTool({
  name: 'greet',
  description: 'Greets somebody',
  input: z.object({ name: z.string() }),
  run: ({ name }) => `Hello, ${name}!`,
})

/** A client with the tasks extension gets a handle; for any other the server waits, and answers the call. */
export const slowCompute = defineTool({
  name: 'slow_compute',
  description: 'Computes for some seconds',
  input: z.object({ seconds: z.number().min(0).max(600), label: z.string().default('result') }),
  task: true,
  async run({ seconds, label }, ctx) {
    const parts = Math.ceil(seconds)
    for (let part = 0; part < parts; part++) {
      ctx.progress(part, parts, `${part} of ${parts} seconds`)
      // Once the task is cancelled the wait is over, and nothing more is computed.
      await sleep((seconds / parts) * 1000, undefined, { signal: ctx.signal })
    }
    return `${label}: computed for ${seconds} seconds`
  },
})

/** Only for clients that know tasks (`-32021` for others). What it throws is a result, which the model reads. */
export const failingJob = defineTool({
  name: 'failing_job',
  description: 'Works for a moment, and fails',
  task: { support: 'required' },
  async run(_args, ctx) {
    await sleep(1000, undefined, { signal: ctx.signal })
    throw toolError('The job has failed, as it always does.')
  },
})

/** What it throws is an error of the protocol: the task ends `failed`. */
export const protocolErrorJob = defineTool({
  name: 'protocol_error_job',
  description: 'Ends with a JSON-RPC error',
  task: true,
  run() {
    throw protocolError('The job can not be done at all.', { code: 1001, data: { reason: 'example' } })
  },
})

/** While it waits for the answer no worker is held, however long that takes. */
export const confirmDelete = defineTool({
  name: 'confirm_delete',
  description: 'Asks before it deletes',
  input: z.object({ filename: z.string() }),
  task: true,
  async run({ filename }, ctx) {
    const answer = await ctx.elicit('confirm', {
      message: `Delete ${filename}?`,
      schema: z.object({ confirm: z.boolean() }),
    })
    return answer.action === 'accept' && answer.content.confirm ? `${filename} is deleted.` : `${filename} is kept.`
  },
})

/** Questions that are asked together may be answered one by one. */
export const multiInput = defineTool({
  name: 'multi_input',
  description: 'Asks two things at once',
  task: true,
  async run(_args, ctx) {
    const schema = z.object({ name: z.string(), confirm: z.boolean() })
    const answers = await Promise.all([
      ctx.elicit('first', { message: 'Who is the first?', schema }),
      ctx.elicit('second', { message: 'Who is the second?', schema }),
    ])
    return answers.map((answer) => (answer.action === 'accept' ? answer.content.name : 'nobody')).join(' and ')
  },
})

/** What is asked before `ctx.detach()` belongs to the call; from there on it is a task. */
export const withTask = defineTool({
  name: 'test_tool_with_task',
  description: 'Asks for a name, then goes on in the background',
  task: { support: 'required', start: 'detach' },
  async run(_args, ctx) {
    const answer = await ctx.elicit('user_name', {
      message: 'What is your name?',
      schema: z.object({ name: z.string() }),
    })
    await ctx.detach()
    return `Hello from the background, ${answer.action === 'accept' ? answer.content.name : 'whoever you are'}!`
  },
})
