import { content, definePrompt } from 'holdfast'
import * as z from 'zod'
import { RED_PIXEL_PNG } from './media.ts'

/** A string becomes one message of the user. */
export const simple = definePrompt({
  name: 'test_simple_prompt',
  description: 'One message without arguments',
  get: () => 'This is a simple prompt for testing.',
})

const WORDS = ['hello', 'help', 'testValue1', 'testimony', 'world']

/** Arguments are strings on the wire; `complete` proposes values while the user types. */
export const withArguments = definePrompt({
  name: 'test_prompt_with_arguments',
  description: 'One message made from two arguments',
  arguments: z.object({
    arg1: z.string().describe('First test argument'),
    arg2: z.string().describe('Second test argument'),
  }),
  complete: { arg1: (typed) => WORDS.filter((word) => word.startsWith(typed)) },
  get: ({ arg1, arg2 }) => `Prompt with arguments: arg1='${arg1}', arg2='${arg2}'`,
})

/** Messages may hold whatever tool results may hold. */
export const withEmbeddedResource = definePrompt({
  name: 'test_prompt_with_embedded_resource',
  description: 'A resource, and the request to work on it',
  arguments: z.object({ resourceUri: z.string().describe('URI of the resource to embed') }),
  get: ({ resourceUri }) => [
    {
      role: 'user',
      content: content.resource(resourceUri, 'Embedded resource content for testing.', 'text/plain'),
    },
    { role: 'user', content: content.text('Please process the embedded resource above.') },
  ],
})

/** Pictures, for instance. */
export const withImage = definePrompt({
  name: 'test_prompt_with_image',
  description: 'A picture, and the request to look at it',
  get: () => [
    { role: 'user', content: content.image(RED_PIXEL_PNG, 'image/png') },
    { role: 'user', content: content.text('Please analyze the image above.') },
  ],
})

/** Prompts may ask, too. */
export const asking = definePrompt({
  name: 'test_input_required_result_prompt',
  description: 'Asks for context, and makes a message of it',
  async get(_args, ctx) {
    const answer = await ctx.elicit('user_context', {
      message: 'What context should the prompt use?',
      schema: z.object({ context: z.string() }),
    })
    return `Answer within this context: ${answer.action === 'accept' ? answer.content.context : 'none'}`
  },
})
