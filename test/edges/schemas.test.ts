import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { compileSchema, type Checked } from '../../src/define/compile-schema.ts'

const LENGTH = 100_000
const repeated = (unit: string, before = '', after = ''): string =>
  before + unit.repeat(Math.ceil(LENGTH / unit.length)) + after
/** Texts on which patterns with choices go back and forth. */
const HOSTILE: readonly string[] = [
  repeated('a'),
  repeated('a.', '', '!'),
  repeated('a-', '', '!'),
  repeated('a@'),
  repeated('a.', '', '@a!'),
  repeated('a.', 'a@', '!'),
  repeated('/'),
  repeated(':'),
  repeated('%41', '', ' '),
  repeated('a', 'http://', ' '),
  repeated('a.', 'http://', ' '),
  repeated('a:', 'http://', '@'),
  repeated('&a=b', 'http://a/?', ' '),
  repeated('{a}', '', '{'),
  repeated('{'),
  repeated('1'),
  repeated('1', '2020-01-01T00:00:00.'),
  repeated('1D', 'P'),
  repeated('1:'),
  repeated('AAAA', '', '!'),
  repeated('\n'),
  repeated('('),
]
const FORMATS = [
  'date',
  'time',
  'date-time',
  'duration',
  'uri',
  'uri-reference',
  'uri-template',
  'url',
  'email',
  'hostname',
  'ipv4',
  'ipv6',
  'regex',
  'uuid',
  'json-pointer',
  'json-pointer-uri-fragment',
  'relative-json-pointer',
  'byte',
]

describe('checking arguments against plain JSON Schema', () => {
  it.each(FORMATS)('looks at a text of the format %s about once, however hostile it is', (format) => {
    const { check } = compileSchema(
      { type: 'object', properties: { text: { type: 'string', format } } },
      'input',
      'test',
    )
    for (const text of HOSTILE) {
      const sinceMs = performance.now()
      check({ text })
      // Once is a few milliseconds; were it quadratic, seconds.
      expect(performance.now() - sinceMs, `${text.slice(0, 20)}…`).toBeLessThan(700)
    }
  })

  it('names the path of what is wrong, whatever the keys are called', () => {
    const key = fc.oneof(
      fc.string({ unit: 'binary', minLength: 1 }),
      fc.constantFrom('__proto__', 'a/b', 'a~b', 'a.b', '0', 'toString'),
    )
    const schema = {
      type: 'object',
      properties: { list: { type: 'array', items: { type: 'object', additionalProperties: { type: 'number' } } } },
    }
    const { check } = compileSchema(schema, 'input', 'test')
    fc.assert(
      fc.property(key, (name) => {
        const item = Object.defineProperty({}, name, { value: 'x', enumerable: true })
        const { problem } = check({ list: [{}, item] }) as Checked
        expect(problem).toContain(`list[1].${/^\d+$/.test(name) ? '' : name}`.replace(/\.$/, ''))
        expect(problem).toContain('number')
      }),
      { numRuns: 1000 },
    )
  })
})
