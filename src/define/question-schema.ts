import { HoldfastError } from '../errors/holdfast-error.ts'
import { compileSchema, type Checked, type CompiledSchema } from './compile-schema.ts'
import { quote } from './names.ts'
import { isStandardSchema, type JsonSchema, type Schema } from './schema.ts'

/** A form, ready to be asked: what the client shows, and the check of its answer. */
export interface Form {
  readonly json: JsonSchema
  readonly check: (value: unknown) => Checked | PromiseLike<Checked>
}

type Field = Record<string, unknown>

/** What each kind of field may say of itself (MCP 2026-07-28, elicitation, "Requested Schema"). */
const SAID = ['title', 'description', 'default'] as const
const STRING = ['minLength', 'maxLength'] as const
const NUMBER = ['minimum', 'maximum'] as const
const ARRAY = ['minItems', 'maxItems'] as const
const FORMATS: readonly unknown[] = ['email', 'uri', 'date', 'date-time']

// Handlers ask with the schema that stands in their module, so one that was made ready is met again.
const forms = new WeakMap<object, Form>()

/**
 * Makes the schema of a question ready. Forms are flat: texts, numbers, booleans, choices, and lists of choices. What a form
 * can't say (a pattern, a refinement) is left out of what the client is shown, and still checked.
 *
 * @throws {HoldfastError} `invalid_ask` for a schema that no form can show.
 */
export function toForm(schema: Schema, where: string): Form {
  const known = forms.get(schema)
  if (known !== undefined) return known
  const compiled = compile(schema, where)
  const { type, properties, required } = compiled.json
  if (type !== 'object' || typeof properties !== 'object' || properties === null)
    throw misfit(where, 'the schema', 'must be an object with properties')
  const fields = Object.entries(properties as Record<string, JsonSchema>).map(
    ([name, field]) => [name, toField(field, `${where}: the field ${quote(name)}`)] as const,
  )
  const form: Form = {
    json: {
      type: 'object',
      properties: Object.fromEntries(fields),
      ...(Array.isArray(required) && required.length > 0 ? { required: required as unknown[] } : {}),
    },
    check: compiled.check,
  }
  forms.set(schema, form)
  return form
}

function compile(schema: Schema, where: string): CompiledSchema {
  try {
    return compileSchema(schema, 'input', where)
  } catch (error) {
    throw new HoldfastError('invalid_ask', (error as Error).message, { cause: error })
  }
}

const misfit = (where: string, what: string, problem: string): HoldfastError =>
  new HoldfastError(
    'invalid_ask',
    `${where}: ${what} ${problem}. A form has texts, numbers, booleans, choices (enum), and lists of choices.`,
  )

function toField(field: JsonSchema, where: string): Field {
  const said = pick(field, SAID)
  const choices = toChoices(field)
  if (choices !== undefined) return { type: 'string', ...said, ...choices }
  switch (field.type) {
    case 'string':
      return {
        type: 'string',
        ...said,
        ...pick(field, STRING),
        ...(FORMATS.includes(field.format) ? { format: field.format } : {}),
      }
    case 'number':
    case 'integer': {
      const bounds = Object.entries(pick(field, NUMBER)).filter(([, bound]) => Math.abs(bound as number) < 2 ** 53 - 1)
      return { type: field.type, ...said, ...Object.fromEntries(bounds) }
    }
    case 'boolean':
      return { type: 'boolean', ...said }
    case 'array': {
      const items = toChoices((field.items ?? {}) as JsonSchema)
      if (items === undefined) break
      // A list of titled choices says `anyOf` where a single choice says `oneOf`.
      const listed = 'oneOf' in items ? { anyOf: items.oneOf } : { type: 'string', ...items }
      return { type: 'array', ...said, ...pick(field, ARRAY), items: listed }
    }
  }
  throw misfit(
    where,
    'it',
    `is ${typeof field.type === 'string' ? `of type ${quote(field.type)}` : 'of no single type'}`,
  )
}

/** `enum`, or `oneOf` of titled constants; `undefined` where the field is no choice. */
function toChoices(field: JsonSchema): Field | undefined {
  if (Array.isArray(field.enum) && field.enum.every((one) => typeof one === 'string'))
    return { enum: field.enum, ...pick(field, ['enumNames']) }
  if (typeof field.const === 'string') return { enum: [field.const] }
  const options: unknown = field.oneOf ?? field.anyOf
  if (!Array.isArray(options) || options.length === 0) return undefined
  const choices = options as { const?: unknown; title?: unknown }[]
  if (!choices.every((option) => typeof option?.const === 'string')) return undefined
  if (choices.every(({ title }) => title === undefined)) return { enum: choices.map((choice) => choice.const) }
  return { oneOf: choices.map((choice) => ({ const: choice.const, title: choice.title ?? choice.const })) }
}

function pick(field: JsonSchema, names: readonly string[]): Field {
  return Object.fromEntries(names.filter((name) => field[name] !== undefined).map((name) => [name, field[name]]))
}

/**
 * The form as revision 2025-06-18 can say it: titled choices by `enumNames`, defaults of booleans alone.
 * `undefined` where it has no words for a field (a list of choices).
 */
export function toFirstForm(json: JsonSchema): JsonSchema | undefined {
  const fields: [string, Field][] = []
  for (const [name, field] of Object.entries(json.properties as Record<string, Field>)) {
    if (field.type === 'array') return undefined
    const { default: initial, oneOf, ...rest } = field
    const titled = oneOf as { const: string; title: string }[] | undefined
    fields.push([
      name,
      {
        ...rest,
        ...(titled === undefined
          ? {}
          : { enum: titled.map((choice) => choice.const), enumNames: titled.map((choice) => choice.title) }),
        ...(field.type === 'boolean' && initial !== undefined ? { default: initial } : {}),
      },
    ])
  }
  return { ...json, properties: Object.fromEntries(fields) }
}

/** Whether a value is a schema at all; a question without one would accept anything. */
export const isSchema = (value: unknown): value is Schema =>
  (typeof value === 'object' && value !== null) ||
  (typeof value === 'function' && isStandardSchema(value as unknown as object))
