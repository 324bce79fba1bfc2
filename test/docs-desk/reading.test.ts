import { describe, expect, it } from 'vitest'
import { decodeText } from '../../examples/docs-desk/reading/decode-text.ts'
import { readDocument } from '../../examples/docs-desk/reading/read-document.ts'
import { makePdf } from './support.ts'

const bytes = (text: string, encoding: BufferEncoding = 'utf8'): Uint8Array =>
  new Uint8Array(Buffer.from(text, encoding))

describe('decoding', () => {
  it.each([
    ['UTF-8', bytes('Größe 日本')],
    ['UTF-8 with a byte order mark', bytes('\ufeffGröße 日本')],
    ['UTF-16, little end first', new Uint8Array([0xff, 0xfe, ...bytes('Größe 日本', 'utf16le')])],
    ['UTF-16, big end first', new Uint8Array([0xfe, 0xff, ...Buffer.from('Größe 日本', 'utf16le').swap16()])],
  ])('reads %s', (_name, content) => {
    expect(decodeText(content)).toBe('Größe 日本')
  })

  it('takes bytes that are no UTF-8 for windows-1252, or for what the file declares', () => {
    expect(decodeText(bytes('Größe', 'latin1'))).toBe('Größe')
    expect(decodeText(new Uint8Array([0xcf, 0xf0, 0xe8]), 'windows-1251')).toBe('При')
    expect(decodeText(bytes('Größe', 'latin1'), 'no-such-charset')).toBe('Größe')
  })

  it('unifies line ends and drops control characters', () => {
    expect(decodeText(bytes('a\r\nb\rc\u0007\u001b[31m\td'))).toBe('a\nb\nc[31m\td')
  })

  it('refuses what is no text', () => {
    expect(() => decodeText(new Uint8Array([1, 0, 2]))).toThrow('not text')
  })
})

describe('reading', () => {
  it('takes the title of Markdown from its front matter, else from its first heading of the first level', async () => {
    const titled = await readDocument({
      format: 'markdown',
      content: '---\ntitle: "Plan B"\ntags: x\n---\n# Other\n\nText',
    })
    expect(titled.title).toBe('Plan B')
    expect(titled.text).not.toContain('tags')
    expect((await readDocument({ format: 'markdown', content: '## Small\n\n# `Big` [link](x)\n\nText' })).title).toBe(
      'Big link',
    )
    expect((await readDocument({ format: 'markdown', content: 'Text alone' })).title).toBeUndefined()
  })

  it('reads HTML by structure: headings, tables and code stay, scripts, styles and menus go', async () => {
    const html = `<html><head><meta charset="windows-1252"><title>Caf\u00e9 &amp; more</title><style>p{}</style></head><body>
      <nav>Menu</nav><script>alert(1)</script><h1>Menu card</h1><h2>Drinks</h2><p>Tea, coffee.</p>
      <table><tr><th>Tea</th><td>2</td></tr></table><pre><code># brew</code></pre></body></html>`
    const read = await readDocument({ format: 'html', content: bytes(html, 'latin1') })
    expect(read.title).toBe('Café & more')
    expect(read.text).not.toMatch(/alert|Menu\n|p\{\}/)
    expect(read.text).toContain('| Tea | 2 |')
    expect(read.chunks.map(({ headingPath }) => headingPath)).toEqual([['Menu card', 'Drinks']])
  })

  it('reads the pages of a PDF as its headings', async () => {
    const read = await readDocument({
      format: 'pdf',
      content: makePdf(['Alpha on page one', 'Beta on page two'], 'Two pages'),
    })
    expect(read.title).toBe('Two pages')
    expect(read.chunks.map(({ headingPath, text }) => [headingPath, text])).toEqual([
      [['Page 1'], 'Alpha on page one'],
      [['Page 2'], 'Beta on page two'],
    ])
  })

  it('says why a PDF cannot be read', async () => {
    const whole = makePdf(['Text'])
    await expect(readDocument({ format: 'pdf', content: bytes('%PDF-1.7 nonsense') })).rejects.toThrow(/PDF/)
    await expect(readDocument({ format: 'pdf', content: whole.subarray(0, 60) })).rejects.toThrow(/PDF/)
    await expect(readDocument({ format: 'pdf', content: makePdf(['']) })).rejects.toThrow('no text layer')
  })

  it('refuses an empty document', async () => {
    await expect(readDocument({ format: 'text', content: ' \n ' })).rejects.toThrow('empty')
  })

  it('takes a short first line of plain text for its title', async () => {
    expect((await readDocument({ format: 'text', content: 'Notes\n\nFirst of all.' })).title).toBe('Notes')
    expect((await readDocument({ format: 'text', content: 'Notes\nFirst of all.' })).title).toBeUndefined()
  })
})
