import { hash } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { Authenticator } from './src/auth/authenticator.ts'
import { Challenger } from './src/auth/challenge.ts'
import { resolveAuth } from './src/auth/options.ts'
import { createApiKey } from './src/auth/api-keys.ts'
import { systemClock } from './src/ports/clock.ts'
import { Issuer } from './test/auth/issuer.ts'
const issuer = await new Issuer().start()
const url = 'http://127.0.0.1:3000/mcp'
const { key, entry } = createApiKey({ subject: 'ada' })
const a = new Authenticator(resolveAuth({ issuer: issuer.url, apiKeys: [entry] }, url), { clock: systemClock, challenger: new Challenger(undefined, []), allowAnonymous: false, onFailure: console.error })
for (const pad of [0, 300, 800, 1500]) {
  const token = await issuer.token(url, { claims: { scope: 'a b c', pad: 'x'.repeat(pad) } })
  const raw = Buffer.from(`Bearer ${token}`)
  const N = 300000
  const headerOf = () => raw.latin1Slice() // a new string, as the parser makes for each request
  await a.authenticate({ head: { header: (n: string) => n === 'authorization' ? headerOf() : undefined }, address: undefined })
  for (let round = 0; round < 3; round++) {
    let t = process.hrtime.bigint()
    for (let i = 0; i < N; i++) a.authenticate({ head: { header: (n: string) => n === 'authorization' ? headerOf() : undefined }, address: undefined })
    const auth = Number(process.hrtime.bigint() - t) / N
    t = process.hrtime.bigint()
    for (let i = 0; i < N; i++) headerOf()
    const base = Number(process.hrtime.bigint() - t) / N
    t = process.hrtime.bigint()
    for (let i = 0; i < N; i++) hash('sha256', headerOf(), 'base64')
    const h = Number(process.hrtime.bigint() - t) / N
    t = process.hrtime.bigint()
    for (let i = 0; i < N; i++) hash('sha256', headerOf(), 'latin1')
    const hl = Number(process.hrtime.bigint() - t) / N
    const lru = new LRUCache<string, number>({max: 100}); lru.set(headerOf(), 1)
    t = process.hrtime.bigint()
    for (let i = 0; i < N; i++) lru.get(headerOf())
    const l = Number(process.hrtime.bigint() - t) / N
    if (round === 2) console.log(raw.length, 'bytes: authenticate', auth - base | 0, 'ns; hash base64', h - base | 0, 'hash latin1', hl - base | 0, 'lru by string', l - base | 0)
  }
}
const rawKey = Buffer.from(`Bearer ${key}`)
let t = process.hrtime.bigint()
for (let i = 0; i < 300000; i++) a.authenticate({ head: { header: (n: string) => n === 'authorization' ? rawKey.latin1Slice() : undefined }, address: undefined })
console.log('api key', Number(process.hrtime.bigint() - t) / 300000 | 0, 'ns')
const raws: string[] = []
for (let i = 0; i < 300; i++) raws.push(`Bearer ${await issuer.token(url, { claims: { i } })}`)
t = process.hrtime.bigint()
for (let i = 0; i < 300; i++) await a.authenticate({ head: { header: (n: string) => n === 'authorization' ? raws[i] : undefined }, address: undefined }) 
console.log('es256 verify', Number(process.hrtime.bigint() - t) / 300 / 1000 | 0, 'us')
await issuer.stop()
