import type { JsonSchema } from './schema.ts'

const MAPS = ['properties', 'patternProperties', '$defs', 'dependentSchemas']
const LISTS = ['allOf', 'anyOf', 'oneOf', 'prefixItems']
const SINGLE = [
  'items',
  'additionalProperties',
  'not',
  'if',
  'then',
  'else',
  'contains',
  'propertyNames',
  'unevaluatedItems',
  'unevaluatedProperties',
]
const COUNTS = [
  'minLength',
  'maxLength',
  'minItems',
  'maxItems',
  'minContains',
  'maxContains',
  'minProperties',
  'maxProperties',
]

/**
 * What ajv's compiler lets pass and JSON Schema 2020-12 does not: subschemas that are none, names that are no strings, counts
 * below zero. The rest its compiler refuses by itself; to compile the meta-schema, which finds both, costs 30 ms of a start.
 *
 * @returns what is wrong and where, or `undefined`.
 */
export function findSchemaMistake(schema: unknown, at = '#'): string | undefined {
  if (typeof schema === 'boolean') return undefined
  if (typeof schema !== 'object' || schema === null || Array.isArray(schema))
    return `${at} is ${JSON.stringify(schema)}, not a schema`
  const node = schema as JsonSchema
  const { required } = node
  if (Array.isArray(required) && !required.every((name) => typeof name === 'string'))
    return `${at}/required holds something other than names`
  for (const keyword of COUNTS) {
    const count = node[keyword]
    if (count !== undefined && !(Number.isInteger(count) && (count as number) >= 0))
      return `${at}/${keyword} is ${JSON.stringify(count)}, not a count`
  }
  const children: [unknown, string][] = SINGLE.filter((keyword) => node[keyword] !== undefined).map((keyword) => [
    node[keyword],
    keyword,
  ])
  for (const keyword of [...MAPS, ...LISTS])
    if (typeof node[keyword] === 'object' && node[keyword] !== null)
      for (const [key, child] of Object.entries(node[keyword])) children.push([child, `${keyword}/${key}`])
  for (const [child, path] of children) {
    const mistake = findSchemaMistake(child, `${at}/${path}`)
    if (mistake !== undefined) return mistake
  }
  return undefined
}
