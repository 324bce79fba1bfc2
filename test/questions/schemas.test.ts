import { ElicitRequestSchema } from '@modelcontextprotocol/sdk/types.js'
import { toStandardJsonSchema } from '@valibot/to-json-schema'
import { type } from 'arktype'
import * as v from 'valibot'
import { describe, expect, test } from 'vitest'
import * as z from 'zod'
import { toFirstForm, toForm } from '../../src/define/question-schema.ts'
import { defineServer, defineTool, jsonSchema, type Schema } from '../../src/index.ts'
import { connect } from '../../src/testing/index.ts'

// What a form says to the client, in the words of each revision, and what comes of the answer.

const json = (properties: object, required?: string[]): Schema =>
  jsonSchema({ type: 'object', properties, ...(required === undefined ? {} : { required }) } as never)

/** One field, `f`, as each library writes it; `first`: as revision 2025-06-18 says it, where that differs. */
const FIELDS: { what: string; schemas: Schema[]; field: object; first?: object | 'none' }[] = [
  {
    what: 'a text',
    schemas: [
      z.object({ f: z.string() }),
      type({ f: 'string' }),
      toStandardJsonSchema(v.object({ f: v.string() })),
      json({ f: { type: 'string' } }, ['f']),
    ],
    field: { type: 'string' },
  },
  {
    what: 'a text of some length',
    schemas: [
      z.object({ f: z.string().min(2).max(5) }),
      type({ f: '2 <= string <= 5' }),
      toStandardJsonSchema(v.object({ f: v.pipe(v.string(), v.minLength(2), v.maxLength(5)) })),
      json({ f: { type: 'string', minLength: 2, maxLength: 5 } }, ['f']),
    ],
    field: { type: 'string', minLength: 2, maxLength: 5 },
  },
  {
    what: 'an e-mail address',
    schemas: [
      z.object({ f: z.email() }),
      type({ f: 'string.email' }),
      toStandardJsonSchema(v.object({ f: v.pipe(v.string(), v.email()) })),
      json({ f: { type: 'string', format: 'email' } }, ['f']),
    ],
    field: { type: 'string', format: 'email' },
  },
  {
    what: 'an address of a page',
    schemas: [z.object({ f: z.url() }), json({ f: { type: 'string', format: 'uri' } }, ['f'])],
    field: { type: 'string', format: 'uri' },
  },
  {
    what: 'a day',
    schemas: [z.object({ f: z.iso.date() }), json({ f: { type: 'string', format: 'date' } }, ['f'])],
    field: { type: 'string', format: 'date' },
  },
  {
    what: 'a format that forms do not have',
    schemas: [z.object({ f: z.uuid() }), json({ f: { type: 'string', format: 'uuid', pattern: '^.' } }, ['f'])],
    field: { type: 'string' },
  },
  {
    what: 'a number',
    schemas: [
      z.object({ f: z.number().min(0).max(9.5) }),
      type({ f: '0 <= number <= 9.5' }),
      toStandardJsonSchema(v.object({ f: v.pipe(v.number(), v.minValue(0), v.maxValue(9.5)) })),
      json({ f: { type: 'number', minimum: 0, maximum: 9.5, multipleOf: 0.5 } }, ['f']),
    ],
    field: { type: 'number', minimum: 0, maximum: 9.5 },
  },
  {
    what: 'a whole number',
    schemas: [
      z.object({ f: z.int() }),
      type({ f: 'number.integer' }),
      toStandardJsonSchema(v.object({ f: v.pipe(v.number(), v.integer()) })),
      json({ f: { type: 'integer' } }, ['f']),
    ],
    field: { type: 'integer' },
  },
  {
    what: 'a yes or no',
    schemas: [
      z.object({ f: z.boolean() }),
      type({ f: 'boolean' }),
      toStandardJsonSchema(v.object({ f: v.boolean() })),
      json({ f: { type: 'boolean' } }, ['f']),
    ],
    field: { type: 'boolean' },
  },
  {
    what: 'a choice',
    schemas: [
      z.object({ f: z.enum(['a', 'b']) }),
      z.object({ f: z.union([z.literal('a'), z.literal('b')]) }),
      type({ f: "'a' | 'b'" }),
      toStandardJsonSchema(v.object({ f: v.picklist(['a', 'b']) })),
      json({ f: { enum: ['a', 'b'] } }, ['f']),
      json({ f: { type: 'string', anyOf: [{ const: 'a' }, { const: 'b' }] } }, ['f']),
    ],
    field: { type: 'string', enum: ['a', 'b'] },
  },
  {
    what: 'a choice of one',
    schemas: [z.object({ f: z.literal('a') }), type({ f: "'a'" }), json({ f: { const: 'a' } }, ['f'])],
    field: { type: 'string', enum: ['a'] },
  },
  {
    what: 'a choice with titles',
    schemas: [
      z.object({ f: z.union([z.literal('a').meta({ title: 'Aa' }), z.literal('b').meta({ title: 'Bb' })]) }),
      json(
        {
          f: {
            type: 'string',
            oneOf: [
              { const: 'a', title: 'Aa' },
              { const: 'b', title: 'Bb' },
            ],
          },
        },
        ['f'],
      ),
    ],
    field: {
      type: 'string',
      oneOf: [
        { const: 'a', title: 'Aa' },
        { const: 'b', title: 'Bb' },
      ],
    },
    first: { type: 'string', enum: ['a', 'b'], enumNames: ['Aa', 'Bb'] },
  },
  {
    what: 'a list of choices',
    schemas: [
      z.object({
        f: z
          .array(z.enum(['a', 'b']))
          .min(1)
          .max(2),
      }),
      type({ f: "1 <= ('a' | 'b')[] <= 2" }),
      json({ f: { type: 'array', minItems: 1, maxItems: 2, uniqueItems: true, items: { enum: ['a', 'b'] } } }, ['f']),
    ],
    field: { type: 'array', minItems: 1, maxItems: 2, items: { type: 'string', enum: ['a', 'b'] } },
    first: 'none',
  },
  {
    what: 'a list of choices with titles',
    schemas: [json({ f: { type: 'array', items: { oneOf: [{ const: 'a', title: 'Aa' }] } } }, ['f'])],
    field: { type: 'array', items: { anyOf: [{ const: 'a', title: 'Aa' }] } },
    first: 'none',
  },
  {
    what: 'a title and a description',
    schemas: [
      z.object({ f: z.string().meta({ title: 'T', description: 'D' }) }),
      toStandardJsonSchema(v.object({ f: v.pipe(v.string(), v.title('T'), v.description('D')) })),
      json({ f: { type: 'string', title: 'T', description: 'D', examples: ['x'], $comment: 'c' } }, ['f']),
    ],
    field: { type: 'string', title: 'T', description: 'D' },
  },
]

const DEFAULTS: { what: string; schemas: Schema[]; field: object; first: object }[] = [
  {
    what: 'a text with a default',
    schemas: [
      z.object({ f: z.string().default('x') }),
      toStandardJsonSchema(v.object({ f: v.optional(v.string(), 'x') })),
      json({ f: { type: 'string', default: 'x' } }),
    ],
    field: { type: 'string', default: 'x' },
    first: { type: 'string' },
  },
  {
    what: 'a yes or no with a default',
    schemas: [z.object({ f: z.boolean().default(true) }), json({ f: { type: 'boolean', default: true } })],
    field: { type: 'boolean', default: true },
    first: { type: 'boolean', default: true },
  },
]

describe.each([
  ...FIELDS.map((field) => ({ ...field, required: ['f'] })),
  ...DEFAULTS.map((field) => ({ ...field, required: undefined })),
])('$what', ({ schemas, field, first = field, required }) => {
  test.each(schemas.map((schema, index) => ({ index, schema })))(
    'is said in words of forms alone ($index)',
    ({ schema }) => {
      const form = toForm(schema, 'ctx.elicit("q")').json
      const rest = required === undefined ? {} : { required }
      expect(form).toEqual({ type: 'object', properties: { f: field }, ...rest })
      expect(toFirstForm(form)).toEqual(
        first === 'none' ? undefined : { type: 'object', properties: { f: first }, ...rest },
      )
      // The official client refuses a request with anything else.
      ElicitRequestSchema.parse({
        method: 'elicitation/create',
        params: { mode: 'form', message: 'm', requestedSchema: form },
      })
    },
  )
})

describe('what no form can say', () => {
  const UNSAID: [string, unknown, RegExp][] = [
    ['an object in an object', z.object({ f: z.object({ g: z.string() }) }), /field "f": it is of type "object"/],
    ['a list of texts', z.object({ f: z.array(z.string()) }), /field "f": it is of type "array"/],
    ['null', z.object({ f: z.string().nullable() }), /field "f": it is of no single type/],
    ['several types', z.object({ f: z.union([z.string(), z.number()]) }), /field "f": it is of no single type/],
    ['numbers to choose from', z.object({ f: z.union([z.literal(1), z.literal(2)]) }), /field "f": it is/],
    ['anything', z.object({ f: z.any() }), /field "f": it is of no single type/],
    ['a text alone', z.string(), /the schema must be an object with properties/],
    ['a record', z.record(z.string(), z.string()), /the schema must be an object with properties/],
    [
      'a union',
      z.union([z.object({ a: z.string() }), z.object({ b: z.string() })]),
      /must be an object with properties/,
    ],
    ['a date', z.object({ f: z.date() }), /can't be expressed as JSON Schema/],
    ['bare fields', { f: z.string() }, /object of schemas/],
    [
      'a reference',
      { type: 'object', properties: { f: { $ref: '#/$defs/x' } }, $defs: { x: { type: 'string' } } },
      /field "f": it is of no single type/,
    ],
    ['no JSON Schema', { type: 'objekt' }, /not valid JSON Schema/],
  ]
  test.each(UNSAID)('%s is refused, with what and where', (_what, schema, message) => {
    const form = (): unknown => toForm(schema as Schema, 'ctx.elicit("q")')
    expect(form).toThrow(message)
    expect(form).toThrow(/^ctx\.elicit\("q"\)/)
    expect(form).toThrow(expect.objectContaining({ code: 'invalid_ask' }))
  })
})

describe.each(['2026-07-28', '2025-11-25', '2025-06-18'] as const)('at %s', (revision) => {
  /** What a handler gets of an answer. */
  const ask = async (schema: Schema, ...answers: (object | string)[]): Promise<unknown> => {
    let got: unknown
    const tool = defineTool({
      name: 'ask',
      description: 'Asks',
      async run(_args, ctx) {
        got = await ctx.elicit('q', { message: 'Well?', schema })
        return 'done'
      },
    })
    const server = defineServer({ name: 'schemas', version: '1.0.0', tools: [tool] })
    let asked = 0
    await using client = await connect(server, { revision, answers: { q: () => answers[asked++] as never } })
    await client.callTool('ask')
    return { got, asked }
  }

  test('defaults and transforms are applied to answers', async () => {
    const schema = z.object({ at: z.string().transform((text) => text.length), n: z.int().default(3) })
    expect(await ask(schema, { at: 'Oslo' })).toEqual({ got: { action: 'accept', content: { at: 4, n: 3 } }, asked: 1 })
  })

  test('what the form could not show is checked all the same, and asked again', async () => {
    const schema = z.object({ a: z.string().regex(/^x/), b: z.string() }).refine(({ a, b }) => a !== b, 'must differ')
    const good = { a: 'x', b: 'y' }
    expect(await ask(schema, { a: 'y', b: 'z' }, { a: 'x', b: 'x' }, good)).toEqual({
      got: { action: 'accept', content: good },
      asked: 3,
    })
  })

  test('a check may take its time', async () => {
    const schema = z.object({ name: z.string().refine(async (name) => name !== 'taken') })
    expect(await ask(schema, { name: 'taken' }, { name: 'free' })).toMatchObject({
      got: { content: { name: 'free' } },
      asked: 2,
    })
  })

  test('a form without fields is a yes or a no, with or without content', async () => {
    for (const answer of ['accept', {}])
      expect(await ask(z.object({}), answer)).toEqual({ got: { action: 'accept', content: {} }, asked: 1 })
  })
})
