import { COMMON_OPTIONS, commonOptions, prefixOf, QueueOptions, type CommonOptions } from '../broker/url.ts'
import { HoldfastError } from '../../errors/holdfast-error.ts'

/** Where queues of SQS are, as their URL says. Credentials come from where AWS' SDK looks for them. */
export interface SqsAddress extends CommonOptions {
  /** Starts the names of queues. */
  readonly prefix: string
  /** `undefined`: what the environment says (`AWS_REGION`). */
  readonly region: string | undefined
  /** Of a server that is not AWS'. */
  readonly endpoint: string | undefined
  /** So long a message is a listener's, before it comes again. */
  readonly visibilityS: number
  /** So long one request waits for messages. */
  readonly waitS: number
  readonly shown: string
}

/** Whether a URL asks for this broker. */
export const isSqsUrl = (url: string): boolean => url.startsWith('sqs://')

const OPTIONS = ['region', 'endpoint', 'visibilityS', 'waitS', ...COMMON_OPTIONS]

/**
 * Reads `sqs://[prefix][?region=…&endpoint=…&…]`.
 * @throws {HoldfastError} `invalid_option` that says what is wrong.
 */
export function parseSqsUrl(url: string): SqsAddress {
  const fail = (problem: string): never => {
    throw new HoldfastError('invalid_option', `The queue URL ${url} ${problem}`)
  }
  const parts = /^sqs:\/\/([^/?#@]*)\/?(?:\?([^#]*))?$/.exec(url)
  if (parts === null)
    return fail('is malformed. Write sqs://prefix?region=eu-central-1; credentials belong into the environment.')
  const options = new QueueOptions(parts[2] ?? '', OPTIONS, fail, (text, what) => {
    try {
      return decodeURIComponent(text)
    } catch {
      return fail(`has a ${what} that is not percent-encoded as it should be: a "%" is written %25.`)
    }
  })
  const endpoint = options.text('endpoint')
  if (endpoint !== undefined && !(URL.canParse(endpoint) && /^https?:$/.test(new URL(endpoint).protocol)))
    fail(`has endpoint=${endpoint}; it must be a URL of http or https.`)
  return {
    ...commonOptions(options),
    prefix: prefixOf(parts[1] === '' ? undefined : parts[1], fail),
    region: options.text('region'),
    endpoint,
    visibilityS: options.number('visibilityS', 1, 43_200) ?? 30,
    waitS: options.number('waitS', 1, 20) ?? 20,
    shown: url,
  }
}
