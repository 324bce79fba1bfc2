import { HoldfastError } from '../errors/holdfast-error.ts'

/** Refuses a definition: what is wrong, where, and the remedy. */
export function invalid(where: string, what: string, remedy: string, cause?: unknown): never {
  throw new HoldfastError('invalid_definition', `${where}: ${what} ${remedy}`, cause === undefined ? {} : { cause })
}

/** Refuses what is no object of options. */
export function checkOptions(builder: string, options: unknown): asserts options is object {
  if (typeof options !== 'object' || options === null)
    invalid(builder, `it was given ${quote(options)}.`, `Give it an object: ${builder}({ name: …, … }).`)
}

/** Tool names: 1–64 of `A–Z a–z 0–9 _ . / -` (MCP 2026-07-28, tools, "Tool Names"). */
export function checkToolName(name: unknown): asserts name is string {
  if (typeof name !== 'string' || !/^[A-Za-z0-9_./-]{1,64}$/.test(name))
    invalid(
      `defineTool(${quote(name)})`,
      'the name is not one that clients accept.',
      'Use 1 to 64 characters out of A-Z, a-z, 0-9, "_", ".", "/" and "-".',
    )
}

/** Names of servers, prompts and resources: any text of 1–128 characters without control characters. */
export function checkName(what: string, name: unknown): asserts name is string {
  if (typeof name !== 'string' || name.length === 0 || name.length > 128 || /[\u0000-\u001f\u007f]/.test(name))
    invalid(
      `${what}(${quote(name)})`,
      'the name is empty, too long, or holds control characters.',
      'Use 1 to 128 printable characters.',
    )
}

export function checkText(where: string, field: string, value: unknown): void {
  if (typeof value !== 'string' || value.trim() === '')
    invalid(
      where,
      `\`${field}\` is ${value === undefined ? 'missing' : quote(value)}.`,
      'Say in a sentence what it is for: models choose by it.',
    )
}

/** Refuses a field that no definition of this kind has: a misspelt field must not pass in silence. */
export function checkFields(where: string, options: object, known: readonly string[]): void {
  for (const key of Object.keys(options))
    if (!known.includes(key)) invalid(where, `there is no field \`${key}\`.`, `The fields are ${known.join(', ')}.`)
}

export function checkFunction(where: string, field: string, value: unknown): void {
  if (typeof value !== 'function') invalid(where, `\`${field}\` is not a function.`, `Give \`${field}\` a function.`)
}

/** A value for a message: texts in quotes and cut short, and of objects what they are. Never throws, whatever the value. */
export function quote(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 80 ? `${value.slice(0, 80)}…` : value)
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'an array' : 'an object'
  return typeof value === 'function' || typeof value === 'symbol' ? `a ${typeof value}` : String(value)
}
