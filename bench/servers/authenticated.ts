/** The measured server, for callers with a token: its issuer's keys come from the environment, over a socket as ever. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { RuntimeOptions } from 'holdfast'

const { BENCH_KEYS: keys, BENCH_ISSUER: issuer, BENCH_AUDIENCE: publicUrl } = process.env
if (keys === undefined || issuer === undefined || publicUrl === undefined)
  throw new Error('BENCH_KEYS, BENCH_ISSUER and BENCH_AUDIENCE are set by the bench')
const issuing = createServer((_request, response) => void response.end(keys)).listen(0, '127.0.0.1')
await once(issuing, 'listening')
issuing.unref()

export const options: RuntimeOptions = {
  publicUrl,
  auth: {
    issuer,
    jwksUrl: `http://127.0.0.1:${(issuing.address() as AddressInfo).port}/`,
    tenantClaim: 'org_id',
  },
}

export { default } from './holdfast.ts'
