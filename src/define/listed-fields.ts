import { invalid, quote } from './names.ts'

const TEXTS = ['title', 'description', 'mimeType', 'websiteUrl', 'instructions']
const HINTS = ['readOnlyHint', 'destructiveHint', 'idempotentHint', 'openWorldHint']

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/**
 * Checks the fields that lists show as they are: clients refuse a whole list for one of the wrong type, and code without types
 * can hold any.
 * @throws {HoldfastError} `invalid_definition`
 */
export function checkListedFields(where: string, options: object): void {
  const { size, icons, annotations, _meta, ...rest } = options as Record<string, unknown>
  for (const field of TEXTS)
    if (rest[field] !== undefined && typeof rest[field] !== 'string')
      invalid(where, `\`${field}\` is ${quote(rest[field])}.`, 'Give a text, or leave it out.')
  if (size !== undefined && !(Number.isSafeInteger(size) && (size as number) >= 0))
    invalid(where, `\`size\` is ${quote(size)}.`, 'Give a whole number of bytes, or leave it out.')
  if (_meta !== undefined && !isRecord(_meta))
    invalid(where, `\`_meta\` is ${quote(_meta)}.`, 'Give an object, or leave it out.')
  if (icons !== undefined) checkIcons(where, icons)
  if (annotations !== undefined && !isRecord(annotations))
    invalid(where, `\`annotations\` is ${quote(annotations)}.`, 'Give an object, or leave it out.')
}

function checkIcons(where: string, icons: unknown): void {
  if (!Array.isArray(icons)) invalid(where, `\`icons\` is ${quote(icons)}.`, 'Give an array of { src }.')
  for (const [index, icon] of icons.entries())
    if (!isRecord(icon) || typeof icon.src !== 'string')
      invalid(where, `\`icons[${index}]\` has no \`src\`.`, 'Give each icon the URL of its picture.')
}

/** The hints of a tool. @throws {HoldfastError} `invalid_definition` */
export function checkToolAnnotations(where: string, annotations: object | undefined): void {
  for (const [name, value] of Object.entries(annotations ?? {})) {
    if (name !== 'title' && !HINTS.includes(name))
      invalid(where, `\`annotations\` has no field \`${name}\`.`, `The fields are title, ${HINTS.join(', ')}.`)
    if (name === 'title' ? typeof value !== 'string' : typeof value !== 'boolean')
      invalid(
        where,
        `\`annotations.${name}\` is ${quote(value)}.`,
        name === 'title' ? 'Give a text.' : 'Give true or false.',
      )
  }
}
