import { describe, expect, test } from 'vitest'
import * as z from 'zod'
import {
  createRuntime,
  definePrompt,
  defineResource,
  defineServer,
  defineTool,
  type ErrorCode,
} from '../../src/index.ts'
import { refused, type Mistake } from './refused.ts'

// Definitions as people who write JavaScript may have them: unchecked by the compiler.
const prompt = (options: object): unknown => definePrompt({ name: 'greet', get: () => 'Hello', ...options } as never)
const resource = (options: object): unknown =>
  defineResource({ uri: 'doc://guide', name: 'guide', read: () => 'text', ...options } as never)
const template = (options: object): unknown =>
  defineResource({ uriTemplate: 'doc://{page}', name: 'page', read: () => 'text', ...options } as never)
const server = (options: object): unknown => defineServer({ name: 'desk', version: '1.0.0', ...options } as never)
const someTool = (name: string): ReturnType<typeof defineTool> =>
  defineTool({ name, description: 'Works', run: () => 'done' })

const PROMPT = /^definePrompt\("greet"\): /
const RESOURCE = /^defineResource\("guide"\): /
const TEMPLATE = /^defineResource\("page"\): /
const SERVER = /^defineServer\("desk"\): /

const MISTAKES: Record<string, readonly Mistake[]> = {
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

for (const [kind, mistakes] of Object.entries(MISTAKES)) refused(kind, mistakes)

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
          input: {
            type: 'object',
            properties: { region: { type: 'string', 'x-mcp-header': 'Region' } },
          },
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
