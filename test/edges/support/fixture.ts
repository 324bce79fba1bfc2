import { defineServer, defineTool, type ServerDefinition } from '../../../src/index.ts'
import { definePrompt } from '../../../src/define/prompt.ts'
import { defineResource } from '../../../src/define/resource.ts'

/** A server with one of everything. Its handlers never fail, so that whatever fails is the protocol's. */
export function createFixture(): ServerDefinition {
  return defineServer({
    name: 'edges',
    version: '1.0.0',
    instructions: 'For tests.',
    tools: [
      defineTool({
        name: 'add',
        description: 'Adds two numbers',
        input: {
          type: 'object',
          properties: { a: { type: 'number' }, b: { type: 'number' } },
          required: ['a', 'b'],
        },
        run: ({ a, b }) => String((a as number) + (b as number)),
      }),
      defineTool({
        name: 'echo',
        description: 'Returns its arguments',
        input: { type: 'object' },
        run: async (args) => args,
      }),
      defineTool({
        name: 'order',
        description: 'Checks an order',
        input: {
          type: 'object',
          properties: {
            order: {
              type: 'object',
              properties: {
                items: {
                  type: 'array',
                  items: {
                    type: 'object',
                    properties: { amount: { type: 'number', minimum: 1 } },
                    required: ['amount'],
                  },
                },
              },
              required: ['items'],
            },
          },
          required: ['order'],
        },
        run: () => 'ordered',
      }),
      defineTool({
        name: 'region',
        description: 'Says its region, which clients mirror in a header',
        input: {
          type: 'object',
          properties: { region: { type: 'string', 'x-mcp-header': 'Region' } },
        },
        run: ({ region }) => String(region),
      }),
      defineTool({
        name: 'chatty',
        description: 'Says how far it is, and logs',
        run: async (_args, ctx) => {
          ctx.progress(1, 2)
          ctx.log.info('half', { of: 'two' })
          await Promise.resolve()
          ctx.progress(2, 2)
          return 'done'
        },
      }),
      defineTool({
        name: 'hold',
        description: 'Waits until it is told to stop',
        run: (_args, { signal }) =>
          new Promise((resolve) => signal.addEventListener('abort', () => resolve('stopped'), { once: true })),
      }),
    ],
    resources: [
      defineResource({ uri: 'edge://fixed', name: 'fixed', mimeType: 'text/plain', read: () => 'fixed' }),
      defineResource({
        uriTemplate: 'edge://items/{id}/parts/{part}',
        name: 'part',
        complete: { id: (value) => [`${value}1`, `${value}2`] },
        read: ({ id, part }) => (id === 'none' ? undefined : JSON.stringify({ id, part })),
      }),
    ],
    prompts: [
      definePrompt({
        name: 'review',
        arguments: { type: 'object', properties: { diff: { type: 'string' } }, required: ['diff'] },
        complete: { diff: (value) => [`${value}…`] },
        get: ({ diff }) => `Review ${String(diff)}`,
      }),
    ],
  })
}
