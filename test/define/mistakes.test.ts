import * as v from 'valibot'
import { describe, expect, test } from 'vitest'
import * as z from 'zod'
import {
  createRuntime,
  definePrompt,
  defineResource,
  defineServer,
  defineTool,
  HoldfastError,
  type ErrorCode,
} from '../../src/index.ts'

/** A mistake, and what its error says: where it is, what it is (with the value), and what to do about it. */
type Mistake = readonly [what: string, make: () => unknown, where: RegExp, problem: RegExp, remedy: RegExp]

// Definitions as people who write JavaScript may have them: unchecked by the compiler.
const tool = (options: object): unknown =>
  defineTool({ name: 'work', description: 'Works', run: () => 'done', ...options } as never)
const prompt = (options: object): unknown => definePrompt({ name: 'greet', get: () => 'Hello', ...options } as never)
const resource = (options: object): unknown =>
  defineResource({ uri: 'doc://guide', name: 'guide', read: () => 'text', ...options } as never)
const template = (options: object): unknown =>
  defineResource({ uriTemplate: 'doc://{page}', name: 'page', read: () => 'text', ...options } as never)
const server = (options: object): unknown => defineServer({ name: 'desk', version: '1.0.0', ...options } as never)
const someTool = (name: string): ReturnType<typeof defineTool> =>
  defineTool({ name, description: 'Works', run: () => 'done' })

const TOOL = /^defineTool\("work"\): /
const PROMPT = /^definePrompt\("greet"\): /
const RESOURCE = /^defineResource\("guide"\): /
const TEMPLATE = /^defineResource\("page"\): /
const SERVER = /^defineServer\("desk"\): /

const MISTAKES: Record<string, readonly Mistake[]> = {
  'a tool': [
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
    [
      'an output schema that is null',
      () => tool({ output: null }),
      TOOL,
      /output schema is null/,
      /JSON Schema object/,
    ],
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
  ],
  'a prompt': [
    ['nothing at all', () => definePrompt(undefined as never), /^definePrompt/, /undefined|nothing/, /object|\{/],
    ['no name', () => prompt({ name: undefined }), /^definePrompt\(undefined\): /, /name/, /1 to 128/],
    [
      'a name with a line break',
      () => prompt({ name: 'a\nb' }),
      /^definePrompt\("a\\nb"\): /,
      /control characters/,
      /printable/,
    ],
    ['a name that is too long', () => prompt({ name: 'x'.repeat(129) }), /^definePrompt\("x+…"\): /, /too long/, /128/],
    ['no handler', () => prompt({ get: undefined }), PROMPT, /`get` is not a function/, /Give `get`/],
    ['a misspelt field', () => prompt({ argument: {} }), PROMPT, /no field `argument`/, /\barguments\b/],
    [
      'arguments that are no object',
      () => prompt({ arguments: z.string() }),
      PROMPT,
      /arguments are not an object/,
      /object of strings/,
    ],
    [
      'a completion of no argument',
      () => prompt({ arguments: z.object({ name: z.string() }), complete: { nam: () => [] } }),
      PROMPT,
      /`complete` names "nam"/,
      /It may name name/,
    ],
    [
      'a completion that is no function',
      () => prompt({ arguments: z.object({ name: z.string() }), complete: { name: ['Ada'] } }),
      PROMPT,
      /`complete\.name` is not a function/,
      /Give/,
    ],
    ['a description that is no text', () => prompt({ description: 7 }), PROMPT, /`description` is 7/, /text/],
  ],
  'a resource': [
    ['nothing at all', () => defineResource(undefined as never), /^defineResource/, /undefined|nothing/, /object|\{/],
    ['no name', () => resource({ name: '' }), /^defineResource\(""\): /, /empty/, /1 to 128/],
    ['neither address', () => resource({ uri: undefined }), RESOURCE, /undefined has no scheme/, /absolute URI/],
    ['both addresses', () => resource({ uriTemplate: 'doc://{x}' }), RESOURCE, /both or neither/, /one of them/],
    [
      'an address without a scheme',
      () => resource({ uri: '/guide' }),
      RESOURCE,
      /"\/guide" has no scheme/,
      /doc:\/\/guide/,
    ],
    [
      'a template without a scheme',
      () => template({ uriTemplate: '{page}' }),
      TEMPLATE,
      /has no scheme/,
      /absolute URI/,
    ],
    ['no handler', () => resource({ read: 'text' }), RESOURCE, /`read` is not a function/, /Give `read`/],
    ['a misspelt field', () => resource({ mimetype: 'text/plain' }), RESOURCE, /no field `mimetype`/, /mimeType/],
    ['a size on a template', () => template({ size: 7 }), TEMPLATE, /no field `size`/, /The fields are/],
    ['a time that is none', () => resource({ ttlMs: -1 }), RESOURCE, /`ttlMs` is -1/, /0 or more/],
    ['a time in parts', () => resource({ ttlMs: 1.5 }), RESOURCE, /`ttlMs` is 1.5/, /whole number/],
    [
      'a scope that does not exist',
      () => resource({ cacheScope: 'shared' }),
      RESOURCE,
      /`cacheScope` is "shared"/,
      /"public" or "private"/,
    ],
    ['a size that is none', () => resource({ size: '7 KB' }), RESOURCE, /`size` is "7 KB"/, /bytes|number/],
    ['a media type that is no text', () => resource({ mimeType: 7 }), RESOURCE, /`mimeType` is 7/, /text/],
    ['a list that is no function', () => template({ list: [] }), TEMPLATE, /`list` is not a function/, /Give `list`/],
    [
      'a template without a variable',
      () => template({ uriTemplate: 'doc://x' }),
      TEMPLATE,
      /"doc:\/\/x" has no variable/,
      /Use `uri`/,
    ],
    [
      'a form of RFC 6570 that is not matched',
      () => template({ uriTemplate: 'doc://{?q}' }),
      TEMPLATE,
      /holds \{\?q\}/,
      /\{name\}.*\{\+name\}/,
    ],
    [
      'two variables in a row',
      () => template({ uriTemplate: 'doc://{a}{b}' }),
      TEMPLATE,
      /\{b\} follows another/,
      /Put text between/,
    ],
    ['a variable twice', () => template({ uriTemplate: 'doc://{a}/{a}' }), TEMPLATE, /holds \{a\} twice/, /once/],
    [
      'a brace that is not closed',
      () => template({ uriTemplate: 'doc://{a}/{b' }),
      TEMPLATE,
      /unmatched brace/,
      /Close each/,
    ],
    [
      'a completion of no variable',
      () => template({ complete: { pag: () => [] } }),
      TEMPLATE,
      /`complete` names "pag"/,
      /may name page/,
    ],
  ],
  'a server': [
    ['nothing at all', () => defineServer(undefined as never), /^defineServer/, /undefined|nothing/, /object|\{/],
    ['no name', () => server({ name: undefined }), /^defineServer\(undefined\): /, /name/, /1 to 128/],
    ['no version', () => server({ version: undefined }), SERVER, /`version` is undefined/, /"1\.0\.0"/],
    ['a version that is a number', () => server({ version: 1 }), SERVER, /`version` is 1/, /"1\.0\.0"/],
    ['a misspelt field', () => server({ tool: [] }), SERVER, /no field `tool`/, /\btools\b/],
    [
      'tools that are no list',
      () => server({ tools: someTool('a') }),
      SERVER,
      /`tools` is not an array/,
      /array of defineTool/,
    ],
    [
      'tools by name',
      () => server({ tools: { a: someTool('a') } }),
      SERVER,
      /`tools` is not an array/,
      /array of defineTool/,
    ],
    [
      'a tool that was not made by defineTool',
      () => server({ tools: [{ name: 'a' }] }),
      SERVER,
      /tools\[0\] was not made by defineTool/,
      /Wrap it in defineTool/,
    ],
    ['a tool that is missing', () => server({ tools: [undefined] }), SERVER, /tools\[0\]/, /Wrap it in defineTool/],
    [
      'a prompt among the tools',
      () => server({ tools: [prompt({})] }),
      SERVER,
      /tools\[0\] was not made by defineTool/,
      /Wrap/,
    ],
    [
      'two tools of one name',
      () => server({ tools: [someTool('a'), someTool('b'), someTool('a')] }),
      SERVER,
      /tools\[0\] and tools\[2\] are both "a"/,
      /Rename/,
    ],
    [
      'two resources of one address',
      () => server({ resources: [resource({}), resource({ name: 'other' })] }),
      SERVER,
      /resources\[0\] and resources\[1\] are both "doc:\/\/guide"/,
      /Rename|remove/,
    ],
    [
      'two prompts of one name',
      () => server({ prompts: [prompt({}), prompt({})] }),
      SERVER,
      /prompts\[0\] and prompts\[1\] are both "greet"/,
      /Rename/,
    ],
    ['instructions that are no text', () => server({ instructions: ['a'] }), SERVER, /`instructions`/, /text/],
  ],
}

const header = (name: unknown, property: object = { type: 'string' }): object => ({
  type: 'object',
  properties: { region: { ...property, 'x-mcp-header': name } },
})

function thrownBy(make: () => unknown): unknown {
  try {
    make()
  } catch (error) {
    return error
  }
  throw new Error('Nothing was thrown.')
}

describe.each(Object.keys(MISTAKES))('%s', (kind) => {
  test.each(MISTAKES[kind]!)(
    'with %s is refused, with what, where, and the remedy',
    (_what, make, where, problem, remedy) => {
      const error = thrownBy(make)
      expect(error).toBeInstanceOf(HoldfastError)
      const { code, message } = error as HoldfastError
      expect(code).toBe('invalid_definition')
      expect(message).toMatch(where)
      expect(message).toMatch(problem)
      expect(message).toMatch(remedy)
      expect(message.length).toBeLessThan(600)
      expect(message).toMatch(/\.$|…$|\}\)\.?$/)
    },
  )
})

describe('a runtime', () => {
  const cases: readonly (readonly [string, object, ErrorCode, RegExp])[] = [
    ['an option that is misspelt', { maxBodyByte: 1 }, 'unknown_option', /maxBodyByte.*Did you mean.*maxBodyBytes/s],
    ['a value of another kind', { maxBodyBytes: '1mb' }, 'invalid_option', /`maxBodyBytes` is "1mb".*whole number/],
    ['a value out of range', { port: 70_000 }, 'invalid_option', /70000.*0 to 65535/],
    ['a value that is none of the few', { logLevel: 'loud' }, 'invalid_option', /loud.*trace, debug, info/],
    ['a list that is a text', { allowedHosts: 'example.com' }, 'invalid_option', /`allowedHosts`.*list/],
  ]
  test.each(cases)('is refused %s', async (_what, options, code, message) => {
    const error = await createRuntime(defineServer({ name: 'desk', version: '1.0.0' }), options).catch(
      (thrown: unknown) => thrown,
    )
    expect(error).toMatchObject({ name: 'HoldfastError', code, message: expect.stringMatching(message) })
  })

  test('is refused anything but a server', async () => {
    const error = await createRuntime({ tools: [] } as never).catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'invalid_module', message: expect.stringMatching(/defineServer/) })
  })
})

test('what is right is not refused', () => {
  expect(() =>
    defineServer({
      name: 'desk',
      title: 'The desk',
      version: '1.0.0',
      description: 'A desk',
      websiteUrl: 'https://example.com',
      icons: [{ src: 'https://example.com/icon.png', mimeType: 'image/png', sizes: ['48x48'], theme: 'dark' }],
      instructions: 'Be kind to the desk.',
      tools: [
        defineTool({
          name: 'a/b.c-d_1',
          title: 'Everything',
          description: 'Does it',
          input: header('Region') as never,
          annotations: {
            title: 'E',
            readOnlyHint: true,
            destructiveHint: false,
            idempotentHint: true,
            openWorldHint: false,
          },
          icons: [{ src: 'data:image/png;base64,AA==' }],
          _meta: { 'com.example/cost': 3 },
          run: () => 'done',
        }),
      ],
      prompts: [definePrompt({ name: 'Grüße, "you"', get: () => 'Hello' })],
      resources: [
        defineResource({ uri: 'doc://guide', name: 'guide', size: 0, ttlMs: 0, cacheScope: 'public', read: () => '' }),
        defineResource({
          uriTemplate: 'file:///{+path}',
          name: 'file',
          complete: { path: () => [] },
          list: () => [],
          read: () => undefined,
        }),
      ],
    }),
  ).not.toThrow()
})
