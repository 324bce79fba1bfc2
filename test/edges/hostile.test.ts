import { afterAll, beforeAll, describe, it } from 'vitest'
import { BOUNDS, type Sender } from './support/rows.ts'
import { BODIES, MESSAGES } from './support/rows-messages.ts'
import { META, PARAMS, POLLUTION } from './support/rows-params.ts'
import { SESSIONS } from './support/rows-sessions.ts'
import { expectAnswer, expectUnharmed, overFetch, overHttp, overStdio, type Transport } from './support/transports.ts'

/** Every hostile message that needs no transport of its own. */
const MESSAGE_ROWS = [...BODIES, ...MESSAGES, ...META, ...PARAMS, ...POLLUTION, ...SESSIONS]
const OPTIONS = { ...BOUNDS, bodyTimeoutMs: 300 }

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
