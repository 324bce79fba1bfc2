import type { StandardJSONSchemaV1, StandardSchemaV1 } from '@standard-schema/spec'

/** A JSON Schema 2020-12 document, as an object. */
export type JsonSchema = { readonly [key: string]: unknown }

/**
 * What a tool, prompt or question takes or gives: a Standard Schema that can also say itself as JSON Schema (Zod 4 and
 * ArkType as they are; Valibot through `toStandardJsonSchema` of `@valibot/to-json-schema`), or plain JSON Schema 2020-12.
 *
 * @see https://standardschema.dev
 */
export type Schema = (StandardSchemaV1 & StandardJSONSchemaV1) | JsonSchema

/** What the handler receives after validation: the schema's output type; with plain JSON Schema, a record. */
export type InferInput<S> = S extends StandardSchemaV1
  ? StandardSchemaV1.InferOutput<S>
  : typeof described extends keyof S
    ? Described<S>
    : S extends undefined
      ? Record<string, never>
      : Record<string, unknown>

/** What the handler returns for its output schema: the schema's input type; with plain JSON Schema, anything JSON can say. */
export type InferReturn<S> = S extends StandardSchemaV1
  ? StandardSchemaV1.InferInput<S>
  : typeof described extends keyof S
    ? Described<S>
    : unknown

declare const described: unique symbol
/** A JSON Schema that says which TypeScript type it describes; see {@link jsonSchema}. */
export type JsonSchemaOf<T> = JsonSchema & { readonly [described]: T }
type Described<S> = S extends { readonly [described]: infer T } ? T : never

/**
 * Gives a plain JSON Schema a TypeScript type, so that handlers are typed. The type is taken on trust; the schema is what
 * is checked at run time.
 *
 * @example
 * input: jsonSchema<{ city: string }>({ type: 'object', properties: { city: { type: 'string' } }, required: ['city'] })
 */
export function jsonSchema<T>(schema: JsonSchema): JsonSchemaOf<T> {
  return schema as unknown as JsonSchemaOf<T>
}

/** Whether a schema follows the Standard Schema interface (and is not plain JSON Schema). */
export function isStandardSchema(schema: object): schema is StandardSchemaV1 & Partial<StandardJSONSchemaV1> {
  return '~standard' in schema
}
