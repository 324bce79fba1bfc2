import TurndownService from 'turndown'
import { readMarkdown } from './markdown.ts'
import type { ReadText } from './markdown.ts'

const NO_CONTENT = ['script', 'style', 'noscript', 'iframe', 'nav', 'template'] as const

/** Reads HTML by way of Markdown: headings, lists, code and tables keep their structure; scripts, styles and menus go. */
export function readHtml(source: string): ReadText {
  let title = ''
  const service = new TurndownService({ headingStyle: 'atx', codeBlockStyle: 'fenced' })
  service.remove([...NO_CONTENT])
  service.addRule('title', {
    filter: 'title',
    replacement: (_content, node) => {
      title = (node.textContent ?? '').replace(/\s+/g, ' ').trim()
      return ''
    },
  })
  service.addRule('cell', {
    filter: ['td', 'th'],
    replacement: (content) => ` ${content.trim().replace(/\s+/g, ' ')} |`,
  })
  service.addRule('row', { filter: 'tr', replacement: (content) => `|${content}\n` })
  const read = readMarkdown(service.turndown(source))
  return title === '' ? read : { ...read, title: title.slice(0, 200) }
}

/** The charset that an HTML file says it has. Only the start is searched, as browsers do. */
export function declaredCharset(bytes: Uint8Array): string | undefined {
  const start = new TextDecoder('latin1').decode(bytes.subarray(0, 1024))
  return /<meta[^>]+charset\s*=\s*["']?([\w-]+)/i.exec(start)?.[1]
}
