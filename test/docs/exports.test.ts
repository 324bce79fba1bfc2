import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import { DOCUMENTS, ROOT } from './documents.ts'

interface Export {
  name: string
  /** The entry point that exports it. */
  entry: string
  /** The file that declares it. */
  file: string
}

/** What an entry point exports: it re-exports names from files, and nothing else. */
function exportsOf(entry: string): Export[] {
  const text = readFileSync(join(ROOT, entry), 'utf8')
  return [...text.matchAll(/export (?:type )?\{([^}]+)\} from '([^']+)'/g)].flatMap(([, names, from]) =>
    names!
      .split(',')
      .map((name) => name.trim())
      .filter((name) => name !== '')
      .map((name) => ({ name, entry, file: join(dirname(entry), from!) })),
  )
}

/** The TSDoc that stands right before a declaration, or `undefined`. */
function tsdocOf(source: string, name: string): string | undefined {
  const declaration = new RegExp(
    `^export (?:declare )?(?:async )?(?:function|const|class|interface|type) ${name}\\b`,
    'm',
  )
  const at = declaration.exec(source)?.index
  if (at === undefined) throw new Error(`${name} is not declared here.`)
  return /\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\s*$/.exec(source.slice(0, at))?.[1]
}

const all = ['src/index.ts', 'src/testing/index.ts', 'src/ai-sdk/index.ts'].flatMap(exportsOf)
const prose = DOCUMENTS.map(({ text }) => text).join('\n')

test('the entry points export what this test looks at', () => {
  expect(all.length).toBeGreaterThan(40)
})

test.each(all)('$name of $entry has TSDoc', ({ name, file }) => {
  expect(tsdocOf(readFileSync(join(ROOT, file), 'utf8'), name)).toMatch(/\w{3}/)
})

test.each(all)('$name of $entry appears in the documentation', ({ name }) => {
  expect(new RegExp(`\\b${name}\\b`).test(prose), `${name} stands in no page`).toBe(true)
})

test('the check would see a declaration without TSDoc', () => {
  expect(tsdocOf('/** Of another. */\nexport const a = 1\nexport const b = 2\n', 'b')).toBeUndefined()
})
