import { describe, expect, test } from 'vitest'
import { parseDynamodbUrl } from '../../src/backends/dynamodb/url.ts'
import { parseKafkaSourceUrl, parseKafkaUrl } from '../../src/backends/kafka/url.ts'
import { parseRabbitmqSourceUrl, parseRabbitmqUrl } from '../../src/backends/rabbitmq/url.ts'
import { parseSqsSourceUrl, parseSqsUrl } from '../../src/backends/sqs/url.ts'

const parse = (url: string): unknown => {
  if (url.startsWith('amqp')) return parseRabbitmqUrl(url)
  if (url.startsWith('kafka')) return parseKafkaUrl(url)
  return url.startsWith('sqs') ? parseSqsUrl(url) : parseDynamodbUrl(url)
}

test.each([
  ['amqp://h', { host: 'h', port: 5672, vhost: '/', username: 'guest', prefix: 'holdfast', maxDeliveries: 10 }],
  ['amqps://me:p%40ss@h:1/a%2Fb', { port: 1, vhost: 'a/b', username: 'me', password: 'p@ss', tls: {} }],
  ['amqps://[::1]?prefix=x&maxLength=7', { host: '::1', port: 5671, prefix: 'x', maxLength: 7 }],
  ['kafka://a,b:1', { brokers: ['a:9092', 'b:1'], topic: 'holdfast', sasl: undefined, partitions: undefined }],
  [
    'kafka://[::1]/bells?partitions=3&replicas=2',
    { brokers: ['[::1]:9092'], topic: 'bells', partitions: 3, replicas: 2 },
  ],
  ['kafkas://u:p@h', { sasl: { mechanism: 'PLAIN', username: 'u', password: 'p' }, tls: {} }],
  ['kafkas://u:p@h?mechanism=SCRAM-SHA-512', { sasl: { mechanism: 'SCRAM-SHA-512' } }],
  ['sqs://', { prefix: 'holdfast', region: undefined, endpoint: undefined, visibilityS: 30, waitS: 20 }],
  ['sqs://x?region=eu-central-1&endpoint=http%3A%2F%2Fh%3A1', { region: 'eu-central-1', endpoint: 'http://h:1' }],
  ['dynamodb://', { table: 'holdfast-tasks', region: undefined }],
  ['dynamodb://my_table?region=r&commandTimeoutMs=100', { table: 'my_table', region: 'r', commandTimeoutMs: 100 }],
])('%s is understood', (url, expected) => {
  expect(parse(url)).toMatchObject(expected)
})

test.each([
  ['amqp:/h', 'malformed'],
  ['amqp://a,b', 'several hosts'],
  ['amqp://h:0', 'a port from 1 to 65535'],
  ['amqp://user@h', 'a user and no password'],
  ['amqp://h?x=1', 'has the option "x"; there are prefix'],
  ['amqp://h?prefix=a.b', 'letters, digits and "-"'],
  ['amqp://h?maxDeliveries=0', 'from 1 to 1000'],
  ['amqp://h?ca=/ca.pem', 'which is for TLS'],
  ['amqps://h?ca=/nothing/ca.pem', "can't be read (ENOENT)"],
  ['amqps://h?cert=/nothing/ca.pem', "can't be read (ENOENT)"],
  ['amqp://h/%zz', 'not percent-encoded'],
  ['kafka://', 'names the host ""'],
  ['kafka://h/a/b', 'letters, digits and "-"'],
  ['kafka://h?mechanism=PLAIN', 'and no user'],
  ['kafkas://u:p@h?mechanism=GSSAPI', 'one of PLAIN, SCRAM-SHA-256'],
  ['kafka://h?partitions=2&partitions=3', 'twice'],
  ['sqs://key:secret@x', 'credentials belong into the environment'],
  ['sqs://x?endpoint=ftp://h', 'http or https'],
  ['sqs://x?waitS=21', 'from 1 to 20'],
  ['dynamodb://ab', '3 to 255'],
  ['dynamodb://table?region=', 'without a value'],
])('%s is refused, with the reason', (url, reason) => {
  expect(() => parse(url)).toThrowError(expect.objectContaining({ code: 'invalid_option' }))
  expect(() => parse(url)).toThrowError(reason)
})

const parseSource = (url: string): unknown => {
  if (url.startsWith('amqp')) return parseRabbitmqSourceUrl(url)
  return url.startsWith('kafka') ? parseKafkaSourceUrl(url) : parseSqsSourceUrl(url)
}

test.each([
  ['amqp://h/orders', { host: 'h', vhost: '/', queue: 'orders', dead: undefined }],
  ['amqp://h/shop/orders?dead=bad', { vhost: 'shop', queue: 'orders', dead: 'bad' }],
  ['amqps://u:p@h/%2F/a%2Fb', { vhost: '/', queue: 'a/b', username: 'u', tls: {} }],
  ['kafka://a,b/shop.orders_v1', { topic: 'shop.orders_v1', group: undefined, dead: undefined }],
  ['kafka://a/t?group=g&dead=d&sessionTimeoutMs=6000', { group: 'g', dead: 'd', sessionTimeoutMs: 6000 }],
  ['sqs://orders?region=r&visibilityS=60', { queue: 'orders', dead: undefined, region: 'r', visibilityS: 60 }],
  ['sqs://orders.fifo?dead=bad.fifo', { queue: 'orders.fifo', dead: 'bad.fifo' }],
])('%s is understood as a source', (url, expected) => {
  expect(parseSource(url)).toMatchObject(expected)
})

test.each([
  ['amqp://h', 'names no queue'],
  ['amqp://h/', 'names no queue'],
  ['amqp://h/a/b/c', 'names no queue'],
  ['amqp://h/q?prefix=x', 'has the option "prefix"; there are dead'],
  ['amqp://h/q?maxDeliveries=1', 'has the option "maxDeliveries"'],
  ['kafka://h', 'the topic ""'],
  ['kafka://h/a/b', 'the topic "a/b"'],
  ['kafka://h/..', 'the topic ".."'],
  ['kafka://h/t?group=a%20b', 'the group "a b"'],
  ['kafka://h/t?partitions=1', 'has the option "partitions"'],
  ['sqs://', 'the queue ""'],
  ['sqs://a.b', 'the queue "a.b"'],
  ['sqs://a?dead=a.b', 'the queue "a.b"'],
])('%s is refused as a source, with the reason', (url, reason) => {
  expect(() => parseSource(url)).toThrowError(expect.objectContaining({ code: 'invalid_option' }))
  expect(() => parseSource(url)).toThrowError(reason)
})

describe('secrets', () => {
  test.each(['amqp://user:s3cret@h?x=1', 'kafka://user:s3/cret@h?x=1', 'amqp://user:s3@cret@h'])(
    'what is wrong with %s is told without its secrets',
    (url) => {
      expect(() => parse(url)).toThrowError(expect.not.objectContaining({ message: expect.stringMatching(/s3|cret/) }))
    },
  )
})
