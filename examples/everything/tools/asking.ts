import { setTimeout as sleep } from 'node:timers/promises'
import { defineTool } from 'holdfast'
import * as z from 'zod'

const NAME = z.object({ name: z.string().describe('How you want to be called') })
const CONFIRM = z.object({ ok: z.boolean() })

/** The same three lines serve both eras: a request on the stream in a 2025 session, `input_required` at 2026-07-28. */
export const elicitation = defineTool({
  name: 'test_input_required_result_elicitation',
  description: 'Asks for a name, and greets',
  async run(_args, ctx) {
    const answer = await ctx.elicit('user_name', { message: 'What is your name?', schema: NAME })
    return answer.action === 'accept' ? `Hello, ${answer.content.name}!` : 'Hello, whoever you are!'
  },
})

/** The client's own model answers. */
export const sampling = defineTool({
  name: 'test_input_required_result_sampling',
  description: 'Asks the model of the client for a capital',
  async run(_args, ctx) {
    const { text } = await ctx.sample('capital_question', {
      messages: 'What is the capital of France?',
      maxTokens: 100,
    })
    return text
  },
})

/** Which folders the client lets the server work in. */
export const roots = defineTool({
  name: 'test_input_required_result_list_roots',
  description: 'Lists the roots of the client',
  async run(_args, ctx) {
    const folders = await ctx.roots('client_roots')
    return `The client has ${folders.length} roots: ${folders.map(({ uri }) => uri).join(', ')}`
  },
})

/** What was recorded before a question is there when the handler runs again. */
export const requestState = defineTool({
  name: 'test_input_required_result_request_state',
  description: 'Takes a step, asks, and finds the step as it was',
  async run(_args, ctx) {
    const before = await ctx.step('draw', () => Math.random())
    await ctx.elicit('confirm', { message: 'Go on?', schema: CONFIRM })
    const after = await ctx.step('compare', () => before)
    return before === after ? 'state-ok' : 'state-lost'
  },
})

/** Questions that are asked together reach the client together. */
export const multipleInputs = defineTool({
  name: 'test_input_required_result_multiple_inputs',
  description: 'Asks the user, the model and for the roots at once',
  async run(_args, ctx) {
    const [name, greeting, folders] = await Promise.all([
      ctx.elicit('user_name', { message: 'What is your name?', schema: NAME }),
      ctx.sample('greeting', { messages: 'Generate a greeting', maxTokens: 50 }),
      ctx.roots('client_roots'),
    ])
    const who = name.action === 'accept' ? name.content.name : 'nobody'
    return `${greeting.text} ${who} works in ${folders.length} folders.`
  },
})

/** A question may depend on the answer to an earlier one. */
export const multiRound = defineTool({
  name: 'test_input_required_result_multi_round',
  description: 'Asks twice, one after the other',
  async run(_args, ctx) {
    const first = await ctx.elicit('step1', { message: 'Step 1: what is your name?', schema: NAME })
    if (first.action !== 'accept') return 'Stopped after the first question.'
    const second = await ctx.elicit('step2', {
      message: `Step 2: ${first.content.name}, which colour do you like best?`,
      schema: z.object({ color: z.string() }),
    })
    return second.action === 'accept'
      ? `${first.content.name} likes ${second.content.color}.`
      : 'Stopped after the second question.'
  },
})

/** What the client brings back is sealed: one changed letter, and the call is refused. */
export const tamperedState = defineTool({
  name: 'test_input_required_result_tampered_state',
  description: 'Asks, so that the returned state can be tampered with',
  async run(_args, ctx) {
    const { action } = await ctx.elicit('confirm', { message: 'Go on?', schema: CONFIRM })
    return `The state was intact, and the answer was: ${action}.`
  },
})

/** What the client can be asked stands in `ctx.client.capabilities`. */
export const capabilities = defineTool({
  name: 'test_input_required_result_capabilities',
  description: 'Asks what the client can be asked',
  async run(_args, ctx) {
    const { elicitation: hasForms, sampling: hasModel } = ctx.client.capabilities
    if (hasModel !== undefined) return (await ctx.sample('model', { messages: 'Say hello', maxTokens: 50 })).text
    if (hasForms !== undefined)
      return (await ctx.elicit('user_name', { message: 'What is your name?', schema: NAME })).action
    return 'The client can be asked nothing.'
  },
})

/** Declared needs are checked before anything runs. */
export const missingCapability = defineTool({
  name: 'test_missing_capability',
  description: 'Cannot run without the model of the client',
  needs: ['sampling'],
  async run(_args, ctx) {
    return (await ctx.sample('hello', { messages: 'Say hello', maxTokens: 50 })).text
  },
})

/** Progress first, then a question: at 2026-07-28 the stream ends with `input_required`. */
export const streamingElicitation = defineTool({
  name: 'test_streaming_elicitation',
  description: 'Reports progress, then asks',
  needs: ['elicitation'],
  async run(_args, ctx) {
    ctx.progress(1, 2)
    await sleep(50, undefined, { signal: ctx.signal })
    const { action } = await ctx.elicit('confirm', { message: 'Go on?', schema: CONFIRM })
    return `The answer was: ${action}.`
  },
})

export const sample = defineTool({
  name: 'test_sampling',
  description: 'Hands a prompt to the model of the client',
  input: z.object({ prompt: z.string().describe('What the model is asked') }),
  run: async ({ prompt }, ctx) =>
    `LLM response: ${(await ctx.sample('prompt', { messages: prompt, maxTokens: 100 })).text}`,
})

export const elicit = defineTool({
  name: 'test_elicitation',
  description: 'Asks for a user name and an address',
  input: z.object({ message: z.string().describe('What the user is told') }),
  async run({ message }, ctx) {
    const { action, content } = await ctx.elicit('user', {
      message,
      schema: z.object({
        username: z.string().describe("User's response"),
        email: z.string().describe("User's email address"),
      }),
    })
    return `User response: action: ${action}, content: ${JSON.stringify(content ?? {})}`
  },
})

/** Defaults are shown to the user, filled in. */
export const elicitDefaults = defineTool({
  name: 'test_elicitation_sep1034_defaults',
  description: 'Asks with a default for each kind of field',
  async run(_args, ctx) {
    const { action, content } = await ctx.elicit('defaults', {
      message: 'Please review your data',
      schema: z.object({
        name: z.string().default('John Doe'),
        age: z.int().default(30),
        score: z.number().default(95.5),
        status: z.enum(['active', 'inactive', 'pending']).default('active'),
        verified: z.boolean().default(true),
      }),
    })
    return `Elicitation completed: action=${action}, content=${JSON.stringify(content ?? {})}`
  },
})

const titled = (choices: Readonly<Record<string, string>>): object[] =>
  Object.entries(choices).map(([value, title]) => ({ const: value, title }))

/** Choices: with and without titles, one or several. Plain JSON Schema says them as the protocol does. */
export const elicitChoices = defineTool({
  name: 'test_elicitation_sep1330_enums',
  description: 'Asks with each kind of choice',
  async run(_args, ctx) {
    const options = ['option1', 'option2', 'option3']
    const { action, content } = await ctx.elicit('choices', {
      message: 'Please choose',
      schema: {
        type: 'object',
        properties: {
          untitledSingle: { type: 'string', enum: options },
          titledSingle: {
            type: 'string',
            oneOf: titled({ value1: 'First Option', value2: 'Second Option', value3: 'Third Option' }),
          },
          legacyEnum: {
            type: 'string',
            enum: ['opt1', 'opt2', 'opt3'],
            enumNames: ['Option One', 'Option Two', 'Option Three'],
          },
          untitledMulti: { type: 'array', items: { type: 'string', enum: options } },
          titledMulti: {
            type: 'array',
            items: { anyOf: titled({ value1: 'First Choice', value2: 'Second Choice', value3: 'Third Choice' }) },
          },
        },
      },
    })
    return `Elicitation completed: action=${action}, content=${JSON.stringify(content ?? {})}`
  },
})
