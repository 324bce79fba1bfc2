import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { post } from './support/messages.ts'
import { RawConnection } from './support/raw-connection.ts'
import { FRAMING, WIRE_BODIES } from './support/rows-framing.ts'
import { HEADS, TARGETS } from './support/rows-heads.ts'
import { BOUNDS, type Sender } from './support/rows.ts'
import { BODIES, MESSAGES } from './support/rows-messages.ts'
import { META, PARAMS, POLLUTION } from './support/rows-params.ts'
import { SESSIONS } from './support/rows-sessions.ts'
import {
  expectAnswer,
  expectUnharmed,
  NORMAL,
  overFetch,
  overHttp,
  overStdio,
  type HttpTransport,
  type Transport,
} from './support/transports.ts'

/** Every hostile message that needs no transport of its own. */
const MESSAGE_ROWS = [...BODIES, ...MESSAGES, ...META, ...PARAMS, ...POLLUTION, ...SESSIONS]
const OPTIONS = { ...BOUNDS, bodyTimeoutMs: 300, headersTimeoutMs: 300 }

describe.each([
  ['over HTTP', overHttp],
  ['through fetch', overFetch],
] as const)('a hostile message %s', (_name, open) => {
  let transport: Transport
  beforeAll(async () => {
    transport = await open(OPTIONS)
  })
  afterAll(() => transport[Symbol.asyncDispose]())

  it.each(MESSAGE_ROWS)('$sends ($as) is answered as it should be, and harms nobody', async (row) => {
    expectAnswer(await transport.send(row), row.expected)
    await expectUnharmed(transport)
  })
})

const SENDERS: readonly Sender[] = ['modern', '2025-11-25', '2025-06-18', '2025-03-26']
describe.each(SENDERS)('a hostile line on stdio from a client of %s', (as) => {
  let transport: Transport
  beforeAll(async () => {
    transport = await overStdio(OPTIONS, as)
  })
  afterAll(() => transport[Symbol.asyncDispose]())

  const rows = MESSAGE_ROWS.filter((row) => row.as === as && row.stdio !== 'none')
  it.each(rows)('$sends is answered as it should be, and harms nobody', async (row) => {
    const expected = row.stdio === undefined || row.stdio === 'none' ? row.expected : row.stdio
    expectAnswer(await transport.send({ ...row, expected }), expected)
    await expectUnharmed(transport)
  })
})

describe('a hostile request over HTTP', () => {
  let http: HttpTransport
  beforeAll(async () => {
    http = await overHttp(OPTIONS)
  })
  afterAll(() => http[Symbol.asyncDispose]())

  it.each([...WIRE_BODIES, ...FRAMING, ...HEADS, ...TARGETS])(
    '$sends is answered as it should be, and harms nobody',
    async (row) => {
      const { send, expected, headers = {}, isHead = false, then, interim } = row
      const connection = await RawConnection.open(http.port)
      try {
        const sent = send(connection, http.session)
        if (expected !== 'nobody') {
          const answer = await connection.next({ isHead })
          const message = answer.body === '' ? undefined : (JSON.parse(answer.body) as unknown)
          if (!('bare' in expected)) expectAnswer({ ...answer, message }, expected)
          else
            expect({ bare: expected.bare, message }).toEqual({
              bare: expect.arrayContaining([answer.status]),
              message: undefined,
            })
          for (const [name, value] of Object.entries(headers)) expect(answer.headers.get(name), name).toMatch(value)
        }
        await sent
        if (interim !== undefined) expect(connection.interim).toHaveLength(interim)
        if (then === 'closed') await connection.closed()
        else {
          connection.write(post(NORMAL.body, NORMAL.headers))
          const { body } = await connection.next()
          expect(JSON.parse(body)).toMatchObject({ id: 'normal', result: { content: [{ text: '3' }] } })
        }
      } finally {
        connection.destroy()
      }
      await expectUnharmed(http)
    },
  )
})
