/**
 * The measured server with limits that nobody reaches: the requests of a caller, and of everybody. `BENCH_LEASE_SHARE` is the
 * share that a node takes in advance of the caller's.
 */
import { defineServer, defineTool } from 'holdfast'
import * as z from 'zod'

const leaseShare = Number(process.env['BENCH_LEASE_SHARE'] ?? 0)

const add = defineTool({
  name: 'add',
  description: 'Adds two numbers',
  input: z.object({ a: z.number(), b: z.number() }),
  run: ({ a, b }) => String(a + b),
})

export default defineServer({
  name: 'bench',
  version: '1.0.0',
  tools: [add],
  limits: [
    { per: 'principal', limit: 100_000, windowMs: 1000, leaseShare },
    { per: 'global', limit: 100_000, windowMs: 1000 },
  ],
})
