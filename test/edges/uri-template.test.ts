import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseUriTemplate } from '../../src/define/uri-template.ts'

const parse = (template: string): ReturnType<typeof parseUriTemplate> => parseUriTemplate(template, 'test')
const name = fc.stringMatching(/^[a-z_][a-z0-9_]{0,8}$/)
const value = fc.string({ minLength: 1, maxLength: 20, unit: 'grapheme' }).filter((text) => text.isWellFormed())
/** Text between variables, which no encoded value holds. */
const literal = fc.stringMatching(/^[/?#]([a-z/]{0,5})$/)

interface Case {
  readonly template: string
  readonly uri: string
  readonly values: Record<string, string>
}
/** A template with some variables, their values, and the URI that they make (RFC 6570, simple expansion). */
const expanded: fc.Arbitrary<Case> = fc
  .tuple(
    fc.uniqueArray(fc.record({ name, value, after: literal }), {
      selector: (part) => part.name,
      minLength: 1,
      maxLength: 5,
    }),
    fc.boolean(),
  )
  .map(([parts, endsInVariable]) => {
    const after = (index: number): string => (endsInVariable && index === parts.length - 1 ? '' : parts[index]!.after)
    return {
      template: `test://${parts.map((part, index) => `{${part.name}}${after(index)}`).join('')}`,
      uri: `test://${parts.map((part, index) => encodeURIComponent(part.value) + after(index)).join('')}`,
      values: Object.fromEntries(parts.map((part) => [part.name, part.value])),
    }
  })

describe('a URI template', () => {
  it('finds in a URI the values that made it', () => {
    fc.assert(
      fc.property(expanded, ({ template, uri, values }) => {
        expect({ ...parse(template).match(uri) }).toEqual(values)
      }),
      { numRuns: 3000 },
    )
  })

  it('lets no variable reach over a segment, whatever the URI', () => {
    fc.assert(
      fc.property(fc.webUrl({ withQueryParameters: true, withFragments: true }), value, (url, noise) => {
        const template = parse('https://{host}/{rest}')
        const uri = url + noise
        const found = template.match(uri)
        if (found === undefined) return
        // Put back as they stood, the two are the whole URI: nothing was skipped, and neither holds a separator.
        const [, host, rest] = /^https:\/\/([^/?#]+)\/([^/?#]+)$/s.exec(uri)!
        expect({ ...found }).toEqual({ host: decodeURIComponent(host!), rest: decodeURIComponent(rest!) })
      }),
      { numRuns: 3000 },
    )
  })

  it.each([
    ['test://{a}/x', 'test://1/2/x'],
    ['test://{a}', 'test://1/2'],
    ['test://{a}', 'test://1?2'],
    ['test://{a}', 'test://1#2'],
    ['test://{a}', 'test://'],
    ['test://{a}/{b}', 'test:///1'],
    ['test://{a}/{b}', 'test://1/'],
    ['test://{a}/end', 'test:///end'],
    ['test://{a}', 'Test://1'],
    ['test://{a}', 'xtest://1'],
    ['test://{a}x', 'test://1xy'],
    ['test://{a}', 'test://%'],
    ['test://{a}', 'test://%zz'],
    ['test://{a}', 'test://%c3%28'],
    ['test://{+a}/x', 'test:///x'],
  ])('%s does not fit %s', (template, uri) => expect(parse(template).match(uri)).toBeUndefined())

  it('lets a reserved variable hold slashes', () =>
    expect({ ...parse('test://{+path}/raw').match('test://a/b%20c/d/raw') }).toEqual({ path: 'a/b c/d' }))

  it('splits at the first place where the text between variables stands', () =>
    expect({ ...parse('test://{a}.{b}').match('test://1.2.3') }).toEqual({ a: '1', b: '2.3' }))

  it('gives a variable of any name, and nothing else, to its reader', () => {
    const found = parse('test://{__proto__}/{constructor}').match('test://1/2')!
    expect(Object.entries(found)).toEqual([
      ['__proto__', '1'],
      ['constructor', '2'],
    ])
    expect(Object.getPrototypeOf(found)).toBeNull()
  })

  it.each([
    '{a}{b}',
    '{a',
    'a}',
    '{}',
    '{a}/{a}',
    '{a*}',
    '{a:3}',
    '{?a}',
    '{#a}',
    '{a,b}',
    '{a.b}',
    '{a-b}',
    '{{a}}',
    'plain',
    '{++a}',
  ])('refuses %s when it is defined', (template) => {
    expect(() => parse(`test://${template}`)).toThrow(expect.objectContaining({ code: 'invalid_definition' }))
  })

  it.each([
    ['one variable', 'test://{a}/x', (n: number) => `test://${'/x'.repeat(n)}`],
    ['a long literal that nearly fits', `test://{a}${'/y'.repeat(50)}z`, (n: number) => `test://1${'/y'.repeat(n)}`],
    [
      'many variables that nearly fit',
      `test://${Array.from({ length: 20 }, (_, i) => `{v${i}}-`).join('')}end`,
      (n: number) => `test://${'a-'.repeat(n)}`,
    ],
    ['slashes', 'test://{+a}/b/{+c}/d', (n: number) => `test://${'/b/'.repeat(n)}`],
    ['percent signs', 'test://{a}', (n: number) => `test://${'%'.repeat(n)}`],
    ['encoded bytes', 'test://{a}', (n: number) => `test://${'%41'.repeat(n)}`],
  ])('looks at a hostile URI of a million characters about once: %s', (_name, template, make) => {
    const parsed = parse(template)
    const uri = make(500_000)
    const sinceMs = performance.now()
    parsed.match(uri)
    // Once is some 10 ms; were it quadratic, it would be minutes.
    expect(performance.now() - sinceMs).toBeLessThan(2000)
  })
})
