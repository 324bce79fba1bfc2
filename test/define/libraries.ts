import { toStandardJsonSchema } from '@valibot/to-json-schema'
import { type } from 'arktype'
import * as v from 'valibot'
import * as z from 'zod'
import { jsonSchema, type Schema } from '../../src/index.ts'

/** A schema that a library has no way to say is left out. */
export interface Library {
  readonly name: string
  /** A name of one character or more, an age from 0 (30 by default, where `defaults`), and texts as tags. */
  readonly person: Schema
  /** Whether defaults reach the handler: in plain JSON Schema they are remarks for people. */
  readonly defaults: boolean
  /** A date and a number, written as texts. */
  readonly transform?: Schema
  /** Two texts that must be equal. */
  readonly refinement?: Schema
  /** A text that is looked up, and must not be "taken". */
  readonly asyncRefinement?: Schema
  /** A tree. */
  readonly recursive: Schema
  /** One of two shapes, told apart by `kind`. */
  readonly union: Schema
  readonly city: Schema
  /** Two texts, as prompts have them: a name of one character or more, and `en` (the default) or `et`. */
  readonly greeting: Schema
  readonly numbers: Schema
}

interface Node {
  value: number
  children: Node[]
}
const zNode: z.ZodType<Node> = z.object({
  value: z.number(),
  get children() {
    return z.array(zNode)
  },
})
const vNode: v.GenericSchema<Node> = v.object({ value: v.number(), children: v.array(v.lazy(() => vNode)) })
const arkTree = type.module({ node: { value: 'number', children: 'node[]' } })

const lookUp = async (user: string): Promise<boolean> => {
  await new Promise((resolve) => setImmediate(resolve))
  return user !== 'taken'
}

export const LIBRARIES: readonly Library[] = [
  {
    name: 'Zod 4',
    person: z.object({
      name: z.string().min(1).describe('Who it is'),
      age: z.int().min(0).default(30),
      tags: z.array(z.string()).optional(),
    }),
    defaults: true,
    transform: z.object({
      when: z.iso.date().transform((text) => new Date(text)),
      count: z.string().transform(Number),
    }),
    refinement: z
      .object({ password: z.string(), again: z.string() })
      .refine(({ password, again }) => password === again, { path: ['again'], error: 'must be the same' }),
    asyncRefinement: z.object({ user: z.string().refine(lookUp, 'is taken') }),
    recursive: z.object({ root: zNode }),
    union: z.object({
      shape: z.discriminatedUnion('kind', [
        z.object({ kind: z.literal('circle'), radius: z.number() }),
        z.object({ kind: z.literal('square'), side: z.number() }),
      ]),
    }),
    greeting: z.object({
      name: z.string().min(1).describe('Who it is'),
      language: z.enum(['en', 'et']).default('en'),
    }),
    city: z.object({ city: z.string(), population: z.int() }),
    numbers: z.array(z.number()),
  },
  {
    name: 'ArkType',
    person: type({ name: 'string > 0', age: 'number.integer >= 0 = 30', 'tags?': 'string[]' }),
    defaults: true,
    transform: type({ when: 'string.date.parse', count: 'string.numeric.parse' }),
    refinement: type({ password: 'string', again: 'string' }).narrow(({ password, again }, ctx) =>
      password === again ? true : ctx.reject({ path: ['again'], expected: 'the same' }),
    ),
    recursive: type({ root: arkTree.node }),
    union: type({ shape: type({ kind: "'circle'", radius: 'number' }).or({ kind: "'square'", side: 'number' }) }),
    greeting: type({ name: 'string > 0', language: "'en' | 'et' = 'en'" }),
    city: type({ city: 'string', population: 'number.integer' }),
    numbers: type('number[]'),
  },
  {
    name: 'Valibot',
    person: toStandardJsonSchema(
      v.object({
        name: v.pipe(v.string(), v.minLength(1), v.description('Who it is')),
        age: v.optional(v.pipe(v.number(), v.integer(), v.minValue(0)), 30),
        tags: v.optional(v.array(v.string())),
      }),
    ),
    defaults: true,
    transform: toStandardJsonSchema(
      v.object({
        when: v.pipe(
          v.string(),
          v.isoDate(),
          v.transform((text) => new Date(text)),
        ),
        count: v.pipe(v.string(), v.transform(Number)),
      }),
    ),
    recursive: toStandardJsonSchema(v.object({ root: vNode })),
    union: toStandardJsonSchema(
      v.object({
        shape: v.variant('kind', [
          v.object({ kind: v.literal('circle'), radius: v.number() }),
          v.object({ kind: v.literal('square'), side: v.number() }),
        ]),
      }),
    ),
    greeting: toStandardJsonSchema(
      v.object({
        name: v.pipe(v.string(), v.minLength(1), v.description('Who it is')),
        language: v.optional(v.picklist(['en', 'et']), 'en'),
      }),
    ),
    city: toStandardJsonSchema(v.object({ city: v.string(), population: v.pipe(v.number(), v.integer()) })),
    numbers: toStandardJsonSchema(v.array(v.number())),
  },
  {
    name: 'plain JSON Schema',
    person: jsonSchema<{ name: string; age?: number; tags?: string[] }>({
      type: 'object',
      properties: {
        name: { type: 'string', minLength: 1, description: 'Who it is' },
        age: { type: 'integer', minimum: 0, default: 30 },
        tags: { type: 'array', items: { type: 'string' } },
      },
      required: ['name'],
    }),
    defaults: false,
    recursive: {
      type: 'object',
      properties: { root: { $ref: '#/$defs/node' } },
      required: ['root'],
      $defs: {
        node: {
          type: 'object',
          properties: { value: { type: 'number' }, children: { type: 'array', items: { $ref: '#/$defs/node' } } },
          required: ['value', 'children'],
        },
      },
    },
    union: {
      type: 'object',
      properties: {
        shape: {
          oneOf: [
            {
              type: 'object',
              properties: { kind: { const: 'circle' }, radius: { type: 'number' } },
              required: ['kind', 'radius'],
            },
            {
              type: 'object',
              properties: { kind: { const: 'square' }, side: { type: 'number' } },
              required: ['kind', 'side'],
            },
          ],
        },
      },
      required: ['shape'],
    },
    greeting: {
      type: 'object',
      properties: {
        name: { type: 'string', minLength: 1, description: 'Who it is' },
        language: { enum: ['en', 'et'], default: 'en' },
      },
      required: ['name'],
    },
    city: {
      type: 'object',
      properties: { city: { type: 'string' }, population: { type: 'integer' } },
      required: ['city', 'population'],
    },
    numbers: { type: 'array', items: { type: 'number' } },
  },
]
