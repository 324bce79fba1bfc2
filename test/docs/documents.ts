import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { marked, type Token, type Tokens } from 'marked'

/** The repository's root. */
export const ROOT = join(import.meta.dirname, '../..')

/** A page of the documentation, as its parts. */
export interface Document {
  /** Path from the root: `docs/testing.md`. */
  readonly path: string
  readonly text: string
  readonly headings: readonly string[]
  /** Targets of links and images. */
  readonly links: readonly string[]
  readonly code: readonly { readonly language: string; readonly text: string }[]
  /** Text between backticks, outside of code blocks. */
  readonly spans: readonly string[]
  readonly tables: readonly { readonly header: readonly string[]; readonly rows: readonly (readonly string[])[] }[]
}

/** Every page: what stands at the root, `docs/`, and the notes beside the bench and the examples. */
export const DOCUMENTS: readonly Document[] = globSync(
  ['*.md', 'docs/**/*.md', 'bench/README.md', 'examples/*/README.md'],
  { cwd: ROOT },
)
  .toSorted()
  .map(readDocument)

/** A page by its path. @throws Error where there is none. */
export function documentAt(path: string): Document {
  const found = DOCUMENTS.find((document) => document.path === path)
  if (found === undefined) throw new Error(`There is no ${path}.`)
  return found
}

function readDocument(path: string): Document {
  const text = readFileSync(join(ROOT, path), 'utf8')
  const headings: string[] = []
  const links: string[] = []
  const code: { language: string; text: string }[] = []
  const spans: string[] = []
  const tables: { header: string[]; rows: string[][] }[] = []
  void marked.walkTokens(marked.lexer(text), (token: Token) => {
    if (token.type === 'heading') headings.push(plain(token as Tokens.Heading))
    else if (token.type === 'link' || token.type === 'image') links.push((token as Tokens.Link).href)
    else if (token.type === 'code')
      code.push({ language: (token as Tokens.Code).lang ?? '', text: token.text as string })
    else if (token.type === 'codespan') spans.push(token.text as string)
    else if (token.type === 'table') {
      const { header, rows } = token as Tokens.Table
      tables.push({ header: header.map(plain), rows: rows.map((row) => row.map(plain)) })
    }
  })
  return { path, text, headings, links, code, spans, tables }
}

/** Text as a reader sees it, without marks. */
function plain(token: { text: string; tokens?: Token[] }): string {
  if (token.tokens === undefined) return token.text
  return token.tokens.map((inner) => plain(inner as Tokens.Text)).join('')
}

/** The anchors that a page offers, by the rule of GitHub: lower case, no punctuation, dashes for spaces, numbers for repeats. */
export function anchors({ headings }: Document): Set<string> {
  const found = new Set<string>()
  for (const heading of headings) {
    const slug = heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\p{M}\s_-]/gu, '')
      .replaceAll(/\s/g, '-')
    let name = slug
    for (let count = 1; found.has(name); count++) name = `${slug}-${count}`
    found.add(name)
  }
  return found
}

/** Rows of the first table of a page with these column titles, each a record by title. @throws Error where there is none. */
export function tableOf(path: string, ...titles: string[]): Record<string, string>[] {
  const table = documentAt(path).tables.find(({ header }) => titles.every((title) => header.includes(title)))
  if (table === undefined) throw new Error(`${path} has no table with the columns ${titles.join(', ')}.`)
  return table.rows.map((row) => Object.fromEntries(row.map((cell, index) => [table.header[index]!, cell])))
}
