/** A run of characters of scripts that are written without spaces. */
const UNSPACED = /[\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Thai}\p{sc=Lao}\p{sc=Khmer}\p{sc=Myanmar}]+/gu
const segmenter = new Intl.Segmenter('und', { granularity: 'word' })

/** Words that say little about what a question is after; they would match nearly every passage. */
const STOP_WORDS = new Set(
  (
    'a about after all also an and any are as at be because been before but by can could did do does for from had has ' +
    'have how i if in into is it its just me my no not of on or our should so some such than that the their them then ' +
    'there these they this those to too up us was we were what when where which while who why will with would you your'
  ).split(' '),
)

/** The most different words of a query that are looked up. */
const MAX_QUERY_WORDS = 48

/** Puts spaces between the words of scripts that have none, so that an index that splits at spaces finds them. */
export function spaceWords(text: string): string {
  return text.replace(UNSPACED, (run) => [...segmenter.segment(run)].map(({ segment }) => ` ${segment}`).join('') + ' ')
}

/** "keepAliveTimeout" and "keep_alive_timeout" as "keep Alive Timeout": what a person would type who seeks it. */
export function splitIdentifiers(text: string): string {
  return [...text.matchAll(/[\p{L}\p{N}]+(?:_[\p{L}\p{N}]+)+|\p{L}*\p{Ll}\p{Lu}[\p{L}\p{N}]*/gu)]
    .map(([identifier]) => identifier.replaceAll('_', ' ').replace(/(\p{Ll})(?=\p{Lu})/gu, '$1 '))
    .join(' ')
}

/** Markdown without link targets, image targets, tags and comments, which are not what a passage is about. */
export function withoutMarkup(markdown: string): string {
  return markdown.replace(/\[([^[\]]*)\]\([^()\s]*\)/g, '$1').replace(/<!--[\s\S]*?-->|<\/?[a-zA-Z][^<>]*>/g, ' ')
}

/** The words to look up for a query: lower case, each once, without stop words unless there is nothing else. */
export function queryWords(query: string): string[] {
  const all = spaceWords(query.normalize('NFKC').toLowerCase()).match(/[\p{L}\p{N}\p{M}]+/gu) ?? []
  const words = [...new Set(all)]
  const telling = words.filter((word) => !STOP_WORDS.has(word))
  return (telling.length > 0 ? telling : words).slice(0, MAX_QUERY_WORDS)
}

/** The sentences of a piece of Markdown: without code blocks, heading lines and the marks of emphasis and tables. */
export function proseOf(markdown: string): string {
  return withoutMarkup(markdown)
    .replace(/^ *(```|~~~)[\s\S]*?(?:^ *\1|$(?![\s\S]))/gm, ' ')
    .replace(/^#{1,6} .*$/gm, ' ')
    .replace(/[*_`>|]/g, '')
    .replace(/\s+/g, ' ')
    .trim()
}
