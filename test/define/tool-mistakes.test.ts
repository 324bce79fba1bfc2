import * as v from 'valibot'
import * as z from 'zod'
import { defineTool } from '../../src/index.ts'
import { refused } from './refused.ts'

// As people who write JavaScript may have it: unchecked by the compiler.
const tool = (options: object): unknown =>
  defineTool({ name: 'work', description: 'Works', run: () => 'done', ...options } as never)
/** A schema whose argument `region` is mirrored in a header. */
const header = (name: unknown, property: object = { type: 'string' }): object => ({
  type: 'object',
  properties: { region: { ...property, 'x-mcp-header': name } },
})
const TOOL = /^defineTool\("work"\): /

refused('a tool', [
  ['nothing at all', () => defineTool(undefined as never), /^defineTool/, /undefined|nothing/, /object|\{/],
  ['no name', () => tool({ name: undefined }), /^defineTool\(undefined\): /, /name/, /1 to 64 characters/],
  ['an empty name', () => tool({ name: '' }), /^defineTool\(""\): /, /name/, /1 to 64/],
  ['a name with a space', () => tool({ name: 'a b' }), /^defineTool\("a b"\): /, /name/, /A-Z, a-z, 0-9/],
  ['a name that is too long', () => tool({ name: 'x'.repeat(65) }), /^defineTool\("x+"\): /, /name/, /64/],
  ['a name that is no text', () => tool({ name: 7 }), /^defineTool\(7\): /, /name/, /characters/],
  ['no description', () => tool({ description: undefined }), TOOL, /`description` is missing/, /sentence/],
  ['a blank description', () => tool({ description: '  ' }), TOOL, /`description` is "  "/, /sentence/],
  ['no handler', () => tool({ run: undefined }), TOOL, /`run` is not a function/, /Give `run` a function/],
  ['a misspelt field', () => tool({ inputs: {} }), TOOL, /no field `inputs`/, /The fields are .*\binput\b/],
  ['a field of the official SDK', () => tool({ inputSchema: {} }), TOOL, /no field `inputSchema`/, /\binput\b/],
  ['a schema that is none', () => tool({ input: 'string' }), TOOL, /input schema is string/, /JSON Schema object/],
  ['a schema that is null', () => tool({ input: null }), TOOL, /input schema is null/, /JSON Schema object/],
  ['an output schema that is null', () => tool({ output: null }), TOOL, /output schema is null/, /JSON Schema object/],
  ['arguments that are a list', () => tool({ input: z.array(z.string()) }), TOOL, /"array"/, /wrap it in one/],
  ['arguments that are a text', () => tool({ input: { type: 'string' } }), TOOL, /"string"/, /wrap it in one/],
  [
    'a raw shape, as the official SDK 1 took it',
    () => tool({ input: { a: z.string() } }),
    TOOL,
    /input schema/,
    /z\.object/,
  ],
  [
    'a type that JSON lacks',
    () => tool({ input: z.object({ at: z.date() }) }),
    TOOL,
    /input schema.*[Dd]ate/,
    /types that JSON has/,
  ],
  [
    'a transform on the way out',
    () => tool({ output: z.string().transform(Number) }),
    TOOL,
    /output schema.*[Tt]ransform/,
    /JSON/,
  ],
  [
    'a Valibot schema as it comes',
    () => tool({ input: v.object({ a: v.string() }) }),
    TOOL,
    /\(valibot\) can't say itself/,
    /toStandardJsonSchema\(schema\), from @valibot\/to-json-schema/,
  ],
  [
    'a Standard Schema without JSON Schema',
    () => tool({ input: { '~standard': { version: 1, vendor: 'other', validate: () => ({ value: 1 }) } } }),
    TOOL,
    /\(other\) can't say itself/,
    /version of other|plain JSON Schema/,
  ],
  [
    'a type that JSON Schema lacks',
    () => tool({ input: { type: 'object', properties: { a: { type: 'strin' } } } }),
    TOOL,
    /not valid JSON Schema 2020-12.*strin/,
    /Mend/,
  ],
  [
    'a required that is no list of names',
    () => tool({ input: { type: 'object', required: [1] } }),
    TOOL,
    /required/,
    /Mend/,
  ],
  [
    'a count below zero',
    () => tool({ input: { type: 'object', minProperties: -1 } }),
    TOOL,
    /minProperties.*-1/,
    /Mend/,
  ],
  [
    'a pattern that is none',
    () => tool({ input: { type: 'object', properties: { a: { type: 'string', pattern: '(' } } } }),
    TOOL,
    /not valid|regular expression/i,
    /Mend/,
  ],
  [
    'a reference that leads elsewhere',
    () => tool({ input: { type: 'object', $ref: 'https://example.com/s.json' } }),
    TOOL,
    /example\.com/,
    /never fetched/,
  ],
  [
    'a reference that leads nowhere',
    () => tool({ input: { type: 'object', $ref: '#/$defs/nothing' } }),
    TOOL,
    /nothing/,
    /Mend/,
  ],
  [
    'a header that is no token',
    () => tool({ input: header('a b') }),
    TOOL,
    /`x-mcp-header` of region is not a header token/,
    /string, integer or boolean/,
  ],
  [
    'a header on a list',
    () => tool({ input: header('Region', { type: 'array' }) }),
    TOOL,
    /stands on type array/,
    /string, integer or boolean/,
  ],
  [
    'a header twice',
    () =>
      tool({
        input: {
          type: 'object',
          properties: { a: { type: 'string', 'x-mcp-header': 'R' }, b: { type: 'string', 'x-mcp-header': 'r' } },
        },
      }),
    TOOL,
    /of b is used twice/,
    /differ/,
  ],
  [
    'a header inside a list',
    () =>
      tool({
        input: {
          type: 'object',
          properties: { a: { type: 'array', items: { type: 'string', 'x-mcp-header': 'R' } } },
        },
      }),
    TOOL,
    /"R" stands inside another keyword/,
    /`properties` alone/,
  ],
  ['a title that is no text', () => tool({ title: 7 }), TOOL, /`title` is 7/, /text/],
  ['annotations that are none', () => tool({ annotations: 'readOnly' }), TOOL, /`annotations`.*readOnly/, /object/],
  [
    'a hint that is no truth value',
    () => tool({ annotations: { readOnlyHint: 'yes' } }),
    TOOL,
    /readOnlyHint.*yes/,
    /true or false/,
  ],
  ['a misspelt hint', () => tool({ annotations: { readonlyHint: true } }), TOOL, /readonlyHint/, /readOnlyHint/],
  ['icons that are no list', () => tool({ icons: 'icon.png' }), TOOL, /`icons`/, /array|list/],
  ['an icon without an address', () => tool({ icons: [{ mimeType: 'image/png' }] }), TOOL, /icons.*src/, /./],
  ['a _meta that is no object', () => tool({ _meta: 'x' }), TOOL, /`_meta`/, /object/],
])
