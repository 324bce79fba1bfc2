import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { DOCUMENTS, ROOT } from './documents.ts'

/** A file that the documentation shows. */
export interface Block {
  /** Page that shows it. */
  readonly document: string
  /** Name that its first comment gives it (`// server.ts`), or one by number. Blocks of a page may import each other. */
  readonly file: string
  /** Whether it has a name: then it is run, not only type-checked. */
  readonly isNamed: boolean
  readonly text: string
}

const NAME = /^\/\/ ([\w./-]+\.(?:ts|js|mjs))\b/

/** Every TypeScript and JavaScript block of every page; of a diff, the files before and after. */
export const BLOCKS: readonly Block[] = DOCUMENTS.flatMap(({ path, code }) =>
  code.flatMap(({ language, text }, index): Block[] => {
    const [name] = language.split(' ')
    if (name === 'diff') return fromDiff(path, text)
    if (name !== 'ts' && name !== 'js') return []
    const file = NAME.exec(text)?.[1]
    return [{ document: path, file: file ?? `block-${index + 1}.${name}`, isNamed: file !== undefined, text }]
  }),
)

/** `--- before.ts`, `+++ after.ts`, and then the lines: a leading `-`, `+` or space each. */
function fromDiff(document: string, text: string): Block[] {
  const [before = '', after = '', ...lines] = text.split('\n')
  const file = (header: string, mark: string): string => {
    if (!header.startsWith(`${mark.repeat(3)} `)) throw new Error(`${document}: a diff begins with "${header}".`)
    return header.slice(4)
  }
  const side = (mark: string): string =>
    lines
      .filter((line) => line === '' || line.startsWith(' ') || line.startsWith(mark))
      .map((line) => line.slice(1))
      .join('\n')
  return [
    { document, file: file(before, '-'), isNamed: true, text: side('-') },
    { document, file: file(after, '+'), isNamed: true, text: side('+') },
  ]
}

/** Folder of a page's blocks below the one that they were written to. */
export const folderOf = (document: string): string => document.replace(/\.md$/, '').replaceAll('/', '-').toLowerCase()

/**
 * Writes every block to a file, inside the repository so that `holdfast` and the packages of its tests resolve.
 * @returns the folder, and a function that removes it.
 */
export function writeBlocks(name: string): { folder: string; remove: () => void } {
  const folder = join(ROOT, '.test-cache', `${name}-${process.pid}`)
  rmSync(folder, { recursive: true, force: true })
  const texts = new Map<string, string>()
  for (const { document, file, text } of BLOCKS) {
    const path = join(folder, folderOf(document), file)
    if ((texts.get(path) ?? text) !== text) throw new Error(`${document} shows two different files named ${file}.`)
    texts.set(path, text)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, `${text}\n`)
  }
  return { folder, remove: () => rmSync(folder, { recursive: true, force: true }) }
}
