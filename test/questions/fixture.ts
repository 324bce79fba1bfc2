import { defineServer, defineTool } from 'holdfast'
import * as z from 'zod'

/** How often the handler began, and how often its step ran: the tests look at both. */
export const counts = { runs: 0, steps: 0 }

/** One handler that asks in each way; every test of this folder runs this text, whatever the revision. */
const trip = defineTool({
  name: 'trip',
  description: 'Plans a trip',
  input: z.object({ to: z.string() }),
  needs: ['elicitation', 'sampling', 'roots'],
  async run({ to }, ctx) {
    counts.runs++
    const offer = await ctx.step('offer', () => ++counts.steps)
    const [when, folders] = await Promise.all([
      ctx.elicit('when', {
        message: `When do you want to go to ${to}?`,
        schema: z.object({ month: z.enum(['May', 'June']), nights: z.int().min(1).default(2) }),
      }),
      ctx.roots('folders'),
    ])
    if (when.action !== 'accept') return `No trip (${when.action}).`
    const { text } = await ctx.sample('slogan', {
      messages: `A slogan for ${to} in ${when.content.month}`,
      maxTokens: 20,
    })
    return `Offer ${offer}: ${to} in ${when.content.month}, ${when.content.nights} nights, into ${folders.length} folders. ${text}`
  },
})

export default defineServer({ name: 'trips', version: '1.0.0', tools: [trip] })
