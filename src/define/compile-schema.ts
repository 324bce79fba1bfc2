import { createRequire } from 'node:module'
import type { StandardSchemaV1 } from '@standard-schema/spec'
import type { Ajv2020, ErrorObject, ValidateFunction } from 'ajv/dist/2020.js'
import { LRUCache } from 'lru-cache'
import { findSchemaMistake } from './check-json-schema.ts'
import { invalid } from './names.ts'
import { isStandardSchema, type JsonSchema, type Schema } from './schema.ts'

/** What a check of a value found: the value (with defaults and transforms applied), or what is wrong, in words. */
export type Checked = { readonly value: unknown; readonly problem?: undefined } | { readonly problem: string }

/** A schema made ready: what clients are shown, and the check. */
export interface CompiledSchema {
  readonly json: JsonSchema
  readonly check: (value: unknown) => Checked | PromiseLike<Checked>
}

/**
 * Makes a schema ready once, at definition.
 *
 * A Standard Schema is checked by its own validator, so that defaults, transforms and refinements hold, and shown as the
 * JSON Schema it gives of itself; plain JSON Schema is compiled by ajv.
 *
 * @param direction whether the JSON Schema says what goes in (arguments) or what comes out (results).
 * @throws {HoldfastError} `invalid_definition` where the schema can't be said as JSON Schema 2020-12, or is malformed.
 */
export function compileSchema(schema: Schema, direction: 'input' | 'output', where: string): CompiledSchema {
  if ((typeof schema !== 'object' && typeof schema !== 'function') || schema === null)
    invalid(
      where,
      `the ${direction} schema is ${String(schema)}.`,
      'Give a Standard Schema (Zod, ArkType, Valibot) or a JSON Schema object.',
    )
  // As JSON Schema it would say nothing, and let everything pass.
  const shaped = Object.entries(schema).find(
    ([, value]) =>
      ((typeof value === 'object' && value !== null) || typeof value === 'function') && isStandardSchema(value),
  )
  if (!isStandardSchema(schema) && shaped !== undefined)
    invalid(
      where,
      `the ${direction} schema is an object of schemas (\`${shaped[0]}\`).`,
      'Wrap it in one schema: z.object({ … }), type({ … }), v.object({ … }).',
    )
  return isStandardSchema(schema)
    ? { json: toJsonSchema(schema, direction, where), check: standardCheck(schema['~standard']) }
    : { json: schema as JsonSchema, check: ajvCheck(schema as JsonSchema, direction, where) }
}

function toJsonSchema(
  schema: StandardSchemaV1 & { '~standard': unknown },
  direction: 'input' | 'output',
  where: string,
): JsonSchema {
  const standard = schema['~standard'] as StandardSchemaV1.Props & {
    jsonSchema?: Record<'input' | 'output', (options: { target: 'draft-2020-12' }) => Record<string, unknown>>
  }
  if (standard.jsonSchema === undefined)
    invalid(
      where,
      `the ${direction} schema (${standard.vendor}) can't say itself as JSON Schema.`,
      standard.vendor === 'valibot'
        ? 'Wrap it: toStandardJsonSchema(schema), from @valibot/to-json-schema.'
        : `Use a version of ${standard.vendor} that implements Standard JSON Schema, or give plain JSON Schema.`,
    )
  try {
    return standard.jsonSchema[direction]({ target: 'draft-2020-12' })
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    return invalid(
      where,
      `the ${direction} schema can't be expressed as JSON Schema (${reason}).`,
      'Use types that JSON has, or give plain JSON Schema.',
      cause,
    )
  }
}

function standardCheck(standard: StandardSchemaV1.Props): CompiledSchema['check'] {
  const toChecked = (result: StandardSchemaV1.Result<unknown>): Checked =>
    result.issues === undefined ? result : { problem: result.issues.slice(0, 10).map(issueText).join('; ') }
  return (value) => {
    const result = standard.validate(value)
    return 'then' in result ? result.then(toChecked) : toChecked(result)
  }
}

function issueText({ path, message }: StandardSchemaV1.Issue): string {
  const keys = path?.map((part) => (typeof part === 'object' ? part.key : part)) ?? []
  const where = pathText(keys)
  // ArkType's messages begin with the path.
  return where === '' || message.startsWith(where) ? message : `${where}: ${message}`
}

function pathText(keys: readonly PropertyKey[]): string {
  return keys
    .map((key, index) => (typeof key === 'number' ? `[${key}]` : (index === 0 ? '' : '.') + String(key)))
    .join('')
}

/** The formats of JSON Schema 2020-12 that ajv-formats checks in linear time; its own `url` takes quadratic time. */
const FORMATS = [
  'date',
  'time',
  'date-time',
  'duration',
  'uri',
  'uri-reference',
  'uri-template',
  'email',
  'hostname',
  'ipv4',
  'ipv6',
  'regex',
  'uuid',
  'json-pointer',
  'relative-json-pointer',
]

/**
 * Checks by the text of their schemas. Tools are defined once, but a handler may write the schema of a question anew with each
 * call, and compiling one takes most of a millisecond.
 */
const checks = new LRUCache<string, ValidateFunction>({ max: 500 })
/** An instance of ajv keeps something of everything that it has compiled, so it is replaced now and then. */
const COMPILED_PER_AJV = 500
let compiled = 0

// ajv is loaded when the first plain JSON Schema is met: servers that use Standard Schemas start faster without it.
let ajv: Ajv2020 | undefined
function getAjv(): Ajv2020 {
  if (ajv === undefined || ++compiled > COMPILED_PER_AJV) {
    compiled = 0
    const require = createRequire(import.meta.url)
    const { Ajv2020 } = require('ajv/dist/2020.js') as typeof import('ajv/dist/2020.js')
    const { default: addFormats } = require('ajv-formats') as typeof import('ajv-formats')
    // Its meta-schema is not compiled: see check-json-schema.ts.
    ajv = new Ajv2020({ strict: false, allErrors: false, addUsedSchema: false, validateSchema: false, logger: false })
    ;(addFormats as unknown as (ajv: Ajv2020, formats: readonly string[]) => void)(ajv, FORMATS)
  }
  return ajv
}

function ajvCheck(schema: JsonSchema, direction: string, where: string): CompiledSchema['check'] {
  const text = JSON.stringify(schema)
  const validate = checks.get(text) ?? compileJsonSchema(schema, direction, where)
  checks.set(text, validate)
  return (value) => (validate(value) ? { value } : { problem: ajvText(validate.errors ?? []) })
}

function compileJsonSchema(schema: JsonSchema, direction: string, where: string): ValidateFunction {
  const mistake = findSchemaMistake(schema)
  if (mistake !== undefined)
    invalid(where, `the ${direction} schema is not valid JSON Schema 2020-12 (${mistake}).`, 'Mend the schema.')
  try {
    // A copy without `$id`: two tools may well carry the same id, and a `$schema` of another draft is read as 2020-12.
    const { $id: _id, $schema: _schema, ...rest } = schema
    return getAjv().compile(rest)
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    return invalid(
      where,
      `the ${direction} schema is not valid JSON Schema 2020-12 (${reason}).`,
      'Mend the schema; remote $refs are never fetched.',
      cause,
    )
  }
}

function ajvText(errors: readonly ErrorObject[]): string {
  return errors
    .slice(0, 10)
    .map((error) => {
      const keys = error.instancePath
        .split('/')
        .slice(1)
        .map((key) => key.replaceAll('~1', '/').replaceAll('~0', '~'))
      const detail =
        error.keyword === 'additionalProperties'
          ? ` ("${(error.params as { additionalProperty: string }).additionalProperty}")`
          : error.keyword === 'enum'
            ? ` (${JSON.stringify((error.params as { allowedValues: unknown }).allowedValues)})`
            : ''
      const path = pathText(keys.map((key) => (/^\d+$/.test(key) ? Number(key) : key)))
      return `${path === '' ? '' : `${path}: `}${error.message ?? error.keyword}${detail}`
    })
    .join('; ')
}
