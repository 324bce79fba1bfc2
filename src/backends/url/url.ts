import { readFileSync } from 'node:fs'
import { HoldfastError } from '../../errors/holdfast-error.ts'

/** Refuses a URL, and says why: `has …`, `names …`, `is …`. */
export type Refuse = (problem: string) => never

/**
 * How a URL is refused.
 * @param what it is: `The state URL`, …
 * @param shown the URL without its secrets.
 * @returns what throws a {@link HoldfastError} `invalid_option`.
 */
export const refusing =
  (what: string, shown: string): Refuse =>
  (problem) => {
    throw new HoldfastError('invalid_option', `${what} ${shown} ${problem}`)
  }

/** Undoes percent-encoding. @param what is encoded, for the message. */
export function decode(text: string, what: string, fail: Refuse): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return fail(`has a ${what} that is not percent-encoded as it should be: a "%" is written %25.`)
  }
}

/** A server, as a URL names it. */
export interface UrlHost {
  readonly host: string
  readonly port: number
}

const HOST = /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::(\d{1,5}))?$/

/** Reads `host[:port],…`; a host of IPv6 stands in brackets. */
export const readHosts = (authority: string, defaultPort: number, fail: Refuse): UrlHost[] =>
  authority.split(',').map((text) => {
    const match = HOST.exec(text)
    const port = Number(match?.[3] ?? defaultPort)
    if (match === null || port < 1 || port > 65_535)
      return fail(`names the host ${JSON.stringify(text)}; a host is a name or an address, and a port from 1 to 65535.`)
    return { host: match[1] ?? match[2]!, port }
  })

/** What stands behind the `?` of a URL. */
export class UrlOptions {
  readonly #given = new Map<string, string>()
  readonly #fail: Refuse

  /**
   * @param names of the options that there are.
   * @throws {HoldfastError} what `fail` throws, for one that there is not, and one that comes twice or has no value.
   */
  constructor(query: string, names: readonly string[], fail: Refuse) {
    this.#fail = fail
    for (const pair of query.split('&').filter((text) => text !== '')) {
      const [name = '', value = ''] = pair.split(/=(.*)/s)
      if (!names.includes(name))
        fail(`has the option ${JSON.stringify(name)}; there ${names.length === 1 ? 'is' : 'are'} ${names.join(', ')}.`)
      if (this.#given.has(name)) fail(`has the option ${name} twice.`)
      const text = decode(value, `value of ${name}`, fail)
      if (text === '') fail(`has the option ${name} without a value.`)
      this.#given.set(name, text)
    }
  }

  text(name: string): string | undefined {
    return this.#given.get(name)
  }

  /** One of some words. */
  word<Word extends string>(name: string, words: readonly Word[]): Word | undefined {
    const text = this.#given.get(name)
    if (text !== undefined && !words.includes(text as Word))
      this.#fail(`has ${name}=${text}; it must be one of ${words.join(', ')}.`)
    return text as Word | undefined
  }

  /** A whole number. */
  number(name: string, min: number, max: number): number | undefined {
    const text = this.#given.get(name)
    if (text === undefined) return undefined
    const value = Number(text)
    if (!/^\d+$/.test(text) || value < min || value > max)
      this.#fail(`has ${name}=${text}; it must be a whole number from ${min} to ${max}.`)
    return value
  }

  /** A URL of HTTP. */
  http(name: string): string | undefined {
    const text = this.#given.get(name)
    if (text !== undefined && !(URL.canParse(text) && /^https?:$/.test(new URL(text).protocol)))
      this.#fail(`has ${name}=${text}; it must be a URL of http or https.`)
    return text
  }

  /** The contents of a file. */
  file(name: string): Buffer | undefined {
    const path = this.#given.get(name)
    if (path === undefined) return undefined
    try {
      return readFileSync(path)
    } catch (cause) {
      return this.#fail(
        `names the file ${JSON.stringify(path)} as ${name}, which can't be read (${(cause as NodeJS.ErrnoException).code}).`,
      )
    }
  }
}

/** The same URL with some options set. */
export function withOptions(url: string, options: Readonly<Record<string, string | number>>): string {
  const [before = '', query = ''] = url.split(/\?(.*)/s)
  const others = query.split('&').filter((pair) => pair !== '' && !Object.hasOwn(options, pair.split('=', 1)[0]!))
  const set = Object.entries(options).map(([name, value]) => `${name}=${encodeURIComponent(value)}`)
  return `${before}?${[...others, ...set].join('&')}`
}

/** A URL with its password starred out. Whatever stands before the last `@` may be one, so a malformed URL shows none either. */
export function withoutPassword(url: string): string {
  return url.replace(/^([a-z+]+:\/\/)(.*)@/s, (_, scheme: string, credentials: string) => {
    const user = /^[^:@/?#]*/.exec(credentials)?.[0] ?? ''
    return credentials.includes(':') ? `${scheme}${user}:***@` : `${scheme}***@`
  })
}
