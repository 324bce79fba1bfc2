import { ERRORS, type ErrorCode } from '../../../src/index.ts'
import type { FakeExchange } from './fake-exchange.ts'
import type { Json } from './messages.ts'

const fatal = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value)
const isId = (id: unknown): boolean => typeof id === 'string' || Number.isSafeInteger(id)
const has = (object: Json, key: string): boolean => Object.hasOwn(object, key)

/** Parses as plainly as can be; `undefined` for what is no JSON. */
export function parse(bytes: Buffer): { readonly value: unknown } | undefined {
  try {
    return { value: JSON.parse(fatal.decode(bytes)) }
  } catch {
    return undefined
  }
}

/** How deep JSON text nests, its strings left out. */
function depthOf(value: unknown): number {
  return typeof value !== 'object' || value === null ? 0 : 1 + Math.max(0, ...Object.values(value).map(depthOf))
}

const isNotification = (message: Json): boolean => typeof message.method === 'string' && !has(message, 'id')
const isResponse = (message: Json): boolean =>
  !has(message, 'method') && (has(message, 'result') || has(message, 'error'))
const isRequest = (message: Json): boolean => typeof message.method === 'string' && isId(message.id)

/** Members that a complete result of 2026-07-28 has, beside those that all have. */
const RESULT_MEMBERS: Readonly<Record<string, readonly string[]>> = {
  'server/discover': ['supportedVersions', 'capabilities', 'ttlMs', 'cacheScope'],
  'tools/list': ['tools', 'ttlMs', 'cacheScope'],
  'prompts/list': ['prompts', 'ttlMs', 'cacheScope'],
  'resources/list': ['resources', 'ttlMs', 'cacheScope'],
  'resources/templates/list': ['resourceTemplates', 'ttlMs', 'cacheScope'],
  'resources/read': ['contents', 'ttlMs', 'cacheScope'],
  'tools/call': ['content'],
  'prompts/get': ['messages'],
  'completion/complete': ['completion'],
}

/** Says what is wrong with how a message was answered; nothing where all is well. */
export function judge(bytes: Buffer, exchange: FakeExchange, mayBeCancelled: boolean): string[] {
  const wrong = [...exchange.violations]
  const check = (isRight: boolean, what: string): void => void (isRight || wrong.push(what))
  const messages = exchange.messages.map((text) => {
    check(!text.includes('\n'), 'a message of more than one line')
    return parse(Buffer.from(text))?.value
  })
  if (messages.includes(undefined)) return [...wrong, 'an answer that is no JSON']
  const status = exchange.status ?? 200
  check(status >= 200 && status < 500, `status ${status}`)

  const sent = parse(bytes)
  const isBatch = Array.isArray(sent?.value)
  const answers = messages.filter((message) => !(isObject(message) && has(message, 'method'))).flat() as Json[]
  for (const message of messages) if (isObject(message) && has(message, 'method')) judgeNotification(message, check)
  for (const answer of answers) judgeAnswer(answer, check)

  const message = sent?.value
  if (sent === undefined || depthOf(message) > 64) {
    check(answers.length === 1 && status === 400, 'no single 400 for what can not be read')
    check(answers[0] !== undefined && !has(answers[0], 'id') && has(answers[0], 'error'), 'an id from nowhere')
  } else if (isBatch) judgeBatch(message as unknown[], answers, exchange, mayBeCancelled, check)
  else if (!isObject(message) || message.jsonrpc !== '2.0') {
    check(answers.length === 1 && has(answers[0]!, 'error') && status === 400, 'no single 400 for what is no message')
  } else if (isResponse(message) || isNotification(message)) {
    if (answers.length === 0) check(status === 202 || exchange.isAbandoned, `status ${status} for no answer`)
    else
      check(
        answers.length === 1 && has(answers[0]!, 'error') && !has(answers[0]!, 'id'),
        'an answer to what asks nothing',
      )
  } else if (isRequest(message)) {
    const isGone = exchange.isAbandoned || (answers.length === 0 && exchange.status === 200)
    if (isListening(messages)) check(answers.length === 0, 'an answer on a stream that the client left')
    else if (!(mayBeCancelled && isGone)) {
      check(answers.length === 1, `${answers.length} answers`)
      if (answers.length === 1) judgeResponse(message, answers[0]!, check)
    }
  } else
    check(answers.length === 1 && has(answers[0]!, 'error') && status === 400, 'no single 400 for what is no request')
  return wrong
}

/** Says what is wrong with how a GET or DELETE was answered: by a stream, by nothing, or by an error without an id. */
export function judgeBodiless(exchange: FakeExchange): string[] {
  const wrong = [...exchange.violations]
  const check = (isRight: boolean, what: string): void => void (isRight || wrong.push(what))
  const messages = exchange.messages.map((text) => JSON.parse(text) as Json)
  const { status = 0 } = exchange
  if (status === 200 || status === 204) {
    for (const message of messages) judgeNotification(message, check)
    return wrong
  }
  check(status >= 400 && status < 500, `status ${status}`)
  check(messages.length === 1 && has(messages[0]!, 'error') && !has(messages[0]!, 'id'), 'no single error')
  for (const message of messages) judgeAnswer(message, check)
  return wrong
}

const isListening = (messages: readonly unknown[]): boolean =>
  messages.some((message) => isObject(message) && message.method === 'notifications/subscriptions/acknowledged')

type Check = (isRight: boolean, what: string) => void

function judgeNotification(message: Json, check: Check): void {
  check(
    message.jsonrpc === '2.0' &&
      typeof message.method === 'string' &&
      message.method.startsWith('notifications/') &&
      !has(message, 'id') &&
      (!has(message, 'params') || isObject(message.params)),
    'a malformed notification',
  )
}

/** A response as JSON-RPC and the error table have it. */
function judgeAnswer(answer: unknown, check: Check): void {
  if (!isObject(answer)) return check(false, 'an answer that is no object')
  const { error } = answer
  const isEither = has(answer, 'result') !== has(answer, 'error')
  check(answer.jsonrpc === '2.0' && isEither, 'a malformed response')
  check(!has(answer, 'id') || isId(answer.id), 'an id that is none')
  if (!has(answer, 'error')) return check(isObject(answer.result) && has(answer, 'id'), 'a malformed result')
  if (!isObject(error) || !isObject(error.data)) return check(false, 'a malformed error')
  const { code, message, data } = error
  check(code !== -32603, `an internal error: ${String(message)}`)
  check(
    typeof message === 'string' && message.length > 0 && message.length < 5000,
    'an error without (or with too much) message',
  )
  const entry = Object.hasOwn(ERRORS, String(data.code)) ? ERRORS[data.code as ErrorCode] : undefined
  check(entry?.kind === 'wire', `an unknown error code ${String(data.code)}`)
  check(entry?.rpc === code || (code === -32002 && data.code === 'resource_not_found'), `the code ${String(code)}`)
  check(data.retryable === entry?.retryable && typeof data.requestId === 'string', 'malformed error data')
}

/** The answer of one request. */
function judgeResponse(request: Json, answer: Json, check: Check): void {
  check(Object.is(answer.id, request.id) || answer.id === request.id, `the id ${JSON.stringify(answer.id)}`)
  const params = isObject(request.params) ? request.params : {}
  const claim = isObject(params._meta) ? params._meta['io.modelcontextprotocol/protocolVersion'] : undefined
  if (claim !== '2026-07-28') {
    if (isObject(answer.result)) check(!has(answer.result, 'resultType'), 'a result of 2026 for a client of 2025')
    return
  }
  if (!isObject(answer.result))
    return check((answer.error as Json).code !== -32002, 'an error of 2025 for a client of 2026')
  const { resultType, _meta, ttlMs, cacheScope } = answer.result
  check(resultType === 'complete', `resultType ${String(resultType)}`)
  const info = isObject(_meta) ? _meta['io.modelcontextprotocol/serverInfo'] : undefined
  check(isObject(info) && info.name === 'edges' && info.version === '1.0.0', 'no serverInfo')
  const members = RESULT_MEMBERS[request.method as string]
  check(
    members !== undefined && members.every((member) => has(answer.result as Json, member)),
    'a member of the result is missing',
  )
  if (members?.includes('ttlMs') !== true) return
  check(Number.isInteger(ttlMs) && (ttlMs as number) >= 0, `ttlMs ${String(ttlMs)}`)
  check(cacheScope === 'public' || cacheScope === 'private', `cacheScope ${String(cacheScope)}`)
}

/** Each element that asks for an answer has one; none for those that do not. */
function judgeBatch(
  sent: readonly unknown[],
  answers: readonly Json[],
  exchange: FakeExchange,
  mayBeCancelled: boolean,
  check: Check,
): void {
  const isWhole = exchange.status === 400 || exchange.status === 404
  if (isWhole) return check(answers.length === 1 && has(answers[0]!, 'error'), 'no single error for a refused batch')
  const asking = sent.filter(
    (message) => !(isObject(message) && message.jsonrpc === '2.0' && (isNotification(message) || isSilent(message))),
  )
  if (mayBeCancelled) return check(answers.length <= asking.length, 'more answers than requests')
  // On a connection, which has no status, a refused batch looks like one with a single rubbish element.
  if (exchange.head === undefined && answers.length === 1 && !has(answers[0]!, 'id')) return
  check(answers.length === asking.length, `${answers.length} answers to ${asking.length} requests`)
  const expected = asking
    .filter((message): message is Json => isObject(message) && isRequest(message))
    .map(({ id }) => JSON.stringify(id))
  const given = answers.flatMap((answer) => (has(answer, 'id') ? [JSON.stringify(answer.id)] : []))
  for (const id of expected) check(given.includes(id), `no answer to ${id}`)
}
const isSilent = (message: Json): boolean => isResponse(message) || (has(message, 'method') && !has(message, 'id'))
