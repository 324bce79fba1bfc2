import { invalid } from './names.ts'

/**
 * A URI template of the forms `{name}` (one path segment) and `{+name}` (slashes too): RFC 6570, simple and reserved
 * expansion of one variable. Matching walks the URI once; there is no regular expression to be slow on hostile input
 * (compare CVE-2026-0621).
 */
export interface UriTemplate {
  readonly names: readonly string[]
  /** Decoded values by variable, or `undefined` where the URI does not match. */
  match(uri: string): Record<string, string> | undefined
}

interface Part {
  readonly name: string
  readonly reserved: boolean
  /** Literal text after the variable. */
  readonly after: string
}

/** @throws {HoldfastError} `invalid_definition` for another form of RFC 6570, or variables with nothing between them. */
export function parseUriTemplate(template: string, where: string): UriTemplate {
  const pieces = template.split(/\{([^{}]*)\}/)
  const first = pieces[0]!
  const parts: Part[] = []
  for (let index = 1; index < pieces.length; index += 2) {
    const expression = pieces[index]!
    const match = /^(\+?)([A-Za-z0-9_]+)$/.exec(expression)
    if (match === null)
      invalid(
        where,
        `the template holds {${expression}}.`,
        'Use {name} for one segment, or {+name} for text with slashes.',
      )
    const name = match[2]!
    if (parts.some((part) => part.name === name))
      invalid(where, `the template holds {${name}} twice.`, 'Name each variable once.')
    if (index > 1 && pieces[index - 1] === '')
      invalid(where, `{${name}} follows another variable directly.`, 'Put text between variables.')
    parts.push({ name, reserved: match[1] === '+', after: pieces[index + 1]! })
  }
  if (/[{}]/.test(first + parts.map((part) => part.after).join('')))
    invalid(where, `the template ${JSON.stringify(template)} has an unmatched brace.`, 'Close each { with }.')
  if (parts.length === 0)
    invalid(where, `${JSON.stringify(template)} has no variable.`, 'Use `uri` for a resource with a fixed URI.')
  return { names: parts.map((part) => part.name), match: (uri) => matchParts(uri, first, parts) }
}

function matchParts(uri: string, first: string, parts: readonly Part[]): Record<string, string> | undefined {
  if (!uri.startsWith(first)) return undefined
  const values: Record<string, string> = Object.create(null) as Record<string, string>
  let at = first.length
  for (const [index, { name, reserved, after }] of parts.entries()) {
    const isLast = index === parts.length - 1
    const end = isLast ? uri.length - after.length : uri.indexOf(after, at + 1)
    if (end <= at || (isLast && !uri.endsWith(after))) return undefined
    const raw = uri.slice(at, end)
    if (!reserved && /[/?#]/.test(raw)) return undefined
    try {
      values[name] = decodeURIComponent(raw)
    } catch {
      return undefined
    }
    at = end + after.length
  }
  return values
}
