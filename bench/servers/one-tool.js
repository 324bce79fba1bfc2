// What a user writes for one tool, in JavaScript: for the time from spawn to first answer.
import { defineServer, defineTool, jsonSchema } from 'holdfast'

const add = defineTool({
  name: 'add',
  description: 'Adds two numbers',
  input: jsonSchema({
    type: 'object',
    properties: { a: { type: 'number' }, b: { type: 'number' } },
    required: ['a', 'b'],
  }),
  run: ({ a, b }) => String(a + b),
})

export default defineServer({ name: 'bench', version: '1.0.0', tools: [add] })
