import type { JsonSchema } from './schema.ts'
import { invalid } from './names.ts'

/** An argument that clients mirror in a header, so that proxies can route by it (MCP 2026-07-28, tools, `x-mcp-header`). */
export interface HeaderParameter {
  /** `Mcp-Param-` and the name, in lower case. */
  readonly header: string
  /** Where the value stands in the arguments. */
  readonly path: readonly string[]
  readonly type: 'string' | 'integer' | 'boolean'
}

const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/
const REMEDY =
  'Set it on a string, integer or boolean property that is reached through `properties` alone; clients drop the tool otherwise.'

/**
 * Finds the parameters that carry `x-mcp-header`.
 * @throws {HoldfastError} `invalid_definition` where the keyword stands on something that clients would drop the tool for.
 */
export function findHeaderParameters(schema: JsonSchema, where: string): HeaderParameter[] {
  const found: HeaderParameter[] = []
  const allowed = new Set<unknown>()
  const visitProperties = (node: JsonSchema, path: readonly string[]): void => {
    const properties = node.properties
    if (typeof properties !== 'object' || properties === null) return
    for (const [key, property] of Object.entries(properties as Record<string, JsonSchema>)) {
      if (typeof property !== 'object' || property === null) continue
      const at = [...path, key]
      const name = property['x-mcp-header']
      if (name !== undefined) {
        const label = `\`x-mcp-header\` of ${at.join('.')}`
        if (typeof name !== 'string' || !TOKEN.test(name)) invalid(where, `${label} is not a header token.`, REMEDY)
        const type = property.type
        if (type !== 'string' && type !== 'integer' && type !== 'boolean')
          invalid(where, `${label} stands on type ${String(type)}.`, REMEDY)
        const header = `mcp-param-${name.toLowerCase()}`
        if (found.some((other) => other.header === header))
          invalid(where, `${label} is used twice.`, 'Header names must differ, ignoring case.')
        found.push({ header, path: at, type })
        allowed.add(property)
      }
      visitProperties(property, at)
    }
  }
  visitProperties(schema, [])
  refuseElsewhere(schema, allowed, where)
  return found
}

function refuseElsewhere(node: unknown, allowed: ReadonlySet<unknown>, where: string): void {
  if (typeof node !== 'object' || node === null) return
  if (
    !Array.isArray(node) &&
    'x-mcp-header' in node &&
    !allowed.has(node) &&
    typeof (node as JsonSchema)['x-mcp-header'] === 'string'
  )
    invalid(
      where,
      `\`x-mcp-header\` "${String((node as JsonSchema)['x-mcp-header'])}" stands inside another keyword.`,
      REMEDY,
    )
  for (const value of Object.values(node)) refuseElsewhere(value, allowed, where)
}
