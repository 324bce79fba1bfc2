import type { Json } from './messages.ts'

/** JSON that may be wrong: text in place of a value, a key twice. */
type Node =
  | { readonly kind: 'text'; text: string }
  | { readonly kind: 'array'; readonly items: Node[] }
  | { readonly kind: 'object'; readonly entries: [string, Node][] }

/** A change: which kind, at which place, with which value; each taken modulo what there is. */
export type Change = readonly [operation: number, place: number, value: number]

const deep = (levels: number): string => '['.repeat(levels) + ']'.repeat(levels)

/** Values that hurt, as JSON text; some are no JSON. Names that mean something here stand among them. */
export const VALUES: readonly string[] = [
  'null',
  'true',
  'false',
  '0',
  '-1',
  '1.5',
  '-0',
  '1e400',
  '1152921504606846976',
  '9007199254740991',
  '1e-7',
  '""',
  '" "',
  '"x"',
  '"\\ud800"',
  '"\\u0000"',
  '"\u2028\u2029"',
  '"😀"',
  '"e\u0301\u202e"',
  '"__proto__"',
  '"constructor"',
  '"toString"',
  '"=?base64?YWRk?="',
  `"${'x'.repeat(2000)}"`,
  '[]',
  '{}',
  '[null]',
  '[[],{}]',
  '{"__proto__":{"polluted":1}}',
  '{"constructor":{"prototype":{"polluted":1}}}',
  '{"toString":1,"valueOf":2,"then":3,"length":-1}',
  deep(10),
  deep(100),
  '"2026-07-28"',
  '"2025-11-25"',
  '"2025-03-26"',
  '"v999"',
  '"tools/call"',
  '"tools/list"',
  '"resources/read"',
  '"subscriptions/listen"',
  '"initialize"',
  '"notifications/cancelled"',
  '"add"',
  '"echo"',
  '"chatty"',
  '"review"',
  '"edge://fixed"',
  '"edge://items/1/parts/%zz"',
  '"ref/prompt"',
  '"debug"',
  '"dG9vbHM6MTA"',
  '"a key of seventeen"',
  'NaN',
  'undefined',
  "'x'",
  '-',
  '01',
  '"\t"',
  '',
]
const KEYS: readonly string[] = [
  'id',
  'method',
  'params',
  'jsonrpc',
  'result',
  'error',
  '_meta',
  'name',
  'arguments',
  'uri',
  'cursor',
  'progressToken',
  '__proto__',
  'constructor',
  'prototype',
  'toJSON',
  'then',
  '',
  'dev.holdfast/idempotencyKey',
  'io.modelcontextprotocol/protocolVersion',
  'io.modelcontextprotocol/clientCapabilities',
  'io.modelcontextprotocol/logLevel',
  '\ud800',
]

function toNode(value: unknown): Node {
  if (Array.isArray(value)) return { kind: 'array', items: value.map(toNode) }
  if (typeof value === 'object' && value !== null)
    return {
      kind: 'object',
      entries: Object.entries(value).flatMap(([key, inner]) => (inner === undefined ? [] : [[key, toNode(inner)]])),
    }
  return { kind: 'text', text: JSON.stringify(value) }
}

function write(node: Node): string {
  if (node.kind === 'text') return node.text
  if (node.kind === 'array') return `[${node.items.map(write).join()}]`
  return `{${node.entries.map(([key, value]) => `${JSON.stringify(key)}:${write(value)}`).join()}}`
}

/** Every place where a value stands, the whole included. */
function placesOf(root: {
  node: Node
}): { get: () => Node; set: (node: Node) => void; remove: () => void; parent?: Node }[] {
  const places: ReturnType<typeof placesOf> = [
    { get: () => root.node, set: (node) => void (root.node = node), remove: () => undefined },
  ]
  const visit = (parent: Node): void => {
    if (parent.kind === 'array')
      for (const item of parent.items) {
        const at = (): number => parent.items.indexOf(item)
        places.push({
          get: () => item,
          set: (node) => void (at() >= 0 && (parent.items[at()] = node)),
          remove: () => void (at() >= 0 && parent.items.splice(at(), 1)),
          parent,
        })
        visit(item)
      }
    else if (parent.kind === 'object')
      for (const entry of parent.entries) {
        places.push({
          get: () => entry[1],
          set: (node) => void (entry[1] = node),
          remove: () => {
            const at = parent.entries.indexOf(entry)
            if (at >= 0) parent.entries.splice(at, 1)
          },
          parent,
        })
        visit(entry[1])
      }
  }
  visit(root.node)
  return places
}

const pick = <T>(list: readonly T[], index: number): T => list[index % list.length]!

/** Changes a message in its structure; no changes leave it as it is. */
export function mutate(message: Json | readonly Json[], changes: readonly Change[]): string {
  const root = { node: toNode(message) }
  for (const [operation, at, value] of changes) {
    const places = placesOf(root)
    const place = pick(places, at)
    const text: Node = { kind: 'text', text: pick(VALUES, value) }
    const { parent } = place
    switch (operation % 8) {
      case 0:
        place.remove()
        break
      case 1:
      case 2:
        place.set(text)
        break
      case 3: // the same key again, with another value, in front or behind
        if (parent?.kind === 'object') {
          const key = parent.entries.find(([, node]) => node === place.get())?.[0] ?? pick(KEYS, value)
          if (value % 2 === 0) parent.entries.push([key, text])
          else parent.entries.unshift([key, text])
        }
        break
      case 4: // a key more
        if (parent?.kind === 'object')
          parent.entries.push([pick(KEYS, value), { kind: 'text', text: pick(VALUES, value >> 5) }])
        break
      case 5: // another key for the same value
        if (parent?.kind === 'object') {
          const entry = parent.entries.find(([, node]) => node === place.get())
          if (entry !== undefined) entry[0] = pick(KEYS, value)
        }
        break
      case 6: // wrapped
        place.set(
          value % 2 === 0
            ? { kind: 'array', items: [place.get()] }
            : { kind: 'object', entries: [[pick(KEYS, value), place.get()]] },
        )
        break
      case 7: // what stands elsewhere; written out, so that nothing ever holds itself
        place.set({ kind: 'text', text: write(pick(places, value).get()) })
    }
  }
  return write(root.node)
}

/** Changes bytes: flips, cuts, repeats, inserts. */
export function mangle(bytes: Buffer, changes: readonly Change[]): Buffer {
  return changes.reduce((current, [operation, at, value]) => {
    const index = at % (current.length + 1)
    const byte = Buffer.of(value & 0xff)
    switch (operation % 5) {
      case 0: {
        const flipped = Buffer.from(current)
        if (index < flipped.length) flipped[index]! ^= 1 << (value % 8)
        return flipped
      }
      case 1:
        return current.subarray(0, index)
      case 2:
        return Buffer.concat([current.subarray(0, index), byte, current.subarray(index)])
      case 3:
        return Buffer.concat([current.subarray(0, index), current.subarray(index + 1 + (value % 16))])
      default:
        return Buffer.concat([current, current.subarray(index)])
    }
  }, bytes)
}

const HEADERS: readonly string[] = [
  'mcp-protocol-version',
  'mcp-method',
  'mcp-name',
  'mcp-session-id',
  'mcp-param-region',
  'last-event-id',
  'accept',
  'content-type',
]
const HEADER_VALUES: readonly string[] = [
  '',
  ' ',
  '2026-07-28',
  '2025-11-25',
  '2025-03-26',
  'v999',
  'tools/call',
  'add',
  '=?base64?YWRk?=',
  '=?base64?YWRk',
  '=?base64?////?=',
  '=?base64?\xff?=',
  'null',
  '__proto__',
  'x'.repeat(3000),
  'application/json',
  'text/event-stream',
  '*/*',
  'p.x.1..1',
  'g.x.1.0',
  '\xff\xfe\xa0',
]

/** Changes headers; both ways to answer stay open, since transports see to that. */
export function mutateHeaders(
  headers: Readonly<Record<string, string>>,
  changes: readonly Change[],
): Record<string, string> {
  const changed: Record<string, string> = { ...headers }
  for (const [operation, at, value] of changes) {
    const name = pick(HEADERS, at)
    switch (operation % 4) {
      case 0:
        delete changed[name]
        break
      case 1:
        changed[name] = pick(HEADER_VALUES, value)
        break
      case 2: // twice, as Node joins them
        if (changed[name] !== undefined)
          changed[name] = `${changed[name]}, ${value % 2 === 0 ? changed[name] : pick(HEADER_VALUES, value)}`
        break
      case 3:
        if (changed[name] !== undefined) changed[name] = flipCharacter(changed[name], value)
    }
  }
  const accept = changed.accept
  if (accept !== undefined && !/json|\*|event-stream/.test(accept)) delete changed.accept
  return changed
}

/** Another visible character in one place. */
function flipCharacter(text: string, value: number): string {
  const index = value % (text.length + 1)
  return text.slice(0, index) + String.fromCharCode(0x21 + (value % 94)) + text.slice(index + 1)
}
