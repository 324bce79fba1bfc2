// The server of isolation.test.ts: its tools call a model in a thread and in a process of their own.
import { generateText, wrapLanguageModel } from 'ai'
import { MockLanguageModelV4 } from 'ai/test'
import { defineServer, defineTool } from 'holdfast'
import { languageModelMiddleware } from 'holdfast/ai-sdk'
import * as z from 'zod'

let calls = 0
const model = wrapLanguageModel({
  model: new MockLanguageModelV4({
    modelId: 'apart',
    doGenerate: async () => ({
      content: [{ type: 'text', text: `call ${++calls} of process ${process.pid}` }],
      finishReason: { unified: 'stop', raw: 'stop' },
      usage: {
        inputTokens: { total: 100, noCache: 100, cacheRead: 0, cacheWrite: 0 },
        outputTokens: { total: 300, text: 300, reasoning: 0 },
      },
      warnings: [],
    }),
  }),
  middleware: languageModelMiddleware({ cache: { ttlMs: 60_000 } }),
})

const tools = (['thread', 'process'] as const).map((isolation) =>
  defineTool({
    name: isolation,
    description: `Asks a model in a ${isolation}`,
    input: z.object({ prompt: z.string() }),
    task: { isolation },
    async run({ prompt }) {
      const { text } = await generateText({ model, prompt, temperature: 0, maxOutputTokens: 500 })
      return text
    },
  }),
)

export default defineServer({
  name: 'apart',
  version: '1.0.0',
  tools,
  limits: [{ per: 'principal', limit: 1_000, windowMs: 3_600_000, unit: 'llm-tokens' }],
})
