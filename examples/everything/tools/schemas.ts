import { defineTool, jsonSchema } from 'holdfast'
import * as z from 'zod'

/** With an output schema, what `run` returns is checked and also sent as `structuredContent`. */
export const add = defineTool({
  name: 'add',
  description: 'Adds two numbers',
  input: z.object({ a: z.number(), b: z.number() }),
  output: z.object({ sum: z.number() }),
  run: ({ a, b }) => ({ sum: a + b }),
})

/** Plain JSON Schema reaches clients word for word, whatever keywords it uses. */
export const fullVocabulary = defineTool({
  name: 'json_schema_2020_12_tool',
  description: 'Takes a contact, described with the wider vocabulary of JSON Schema 2020-12',
  input: jsonSchema<{ name?: string; contactMethod?: 'phone' | 'email'; phone?: string; email?: string }>({
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    type: 'object',
    $defs: {
      address: {
        $anchor: 'addressDef',
        type: 'object',
        properties: { street: { type: 'string' }, city: { type: 'string' } },
      },
    },
    properties: {
      name: { type: 'string' },
      address: { $ref: '#/$defs/address' },
      contactMethod: { type: 'string', enum: ['phone', 'email'] },
      phone: { type: 'string' },
      email: { type: 'string' },
    },
    allOf: [{ anyOf: [{ required: ['phone'] }, { required: ['email'] }] }],
    if: { properties: { contactMethod: { const: 'phone' } }, required: ['contactMethod'] },
    then: { required: ['phone'] },
    else: { required: ['email'] },
    additionalProperties: false,
  }),
  run: ({ name = 'somebody', phone, email }) => `${name} is reached at ${phone ?? email}.`,
})

/**
 * `x-mcp-header` makes clients repeat an argument in a header (here `Mcp-Param-Region`), so that a load balancer can
 * route on it. A call whose header differs from its argument is refused before it runs.
 */
export const headerParameter = defineTool({
  name: 'test_header_parameter',
  description: 'Says which region it was asked for',
  input: jsonSchema<{ region: string }>({
    type: 'object',
    properties: {
      region: { type: 'string', description: 'The region to ask', 'x-mcp-header': 'Region' },
    },
    required: ['region'],
  }),
  run: ({ region }) => `The region is ${region}.`,
})
