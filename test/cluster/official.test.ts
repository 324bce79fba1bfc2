// The official clients, whose requests go to another node each.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll } from 'vitest'
import { testOfficialClients } from '../clients/official-suite.ts'
import { FIXTURE } from '../clients/with-server.ts'
import { needs } from '../servers/shared.ts'
import { startTestCluster, type TestCluster } from './cluster.ts'

await needs('redis', 'toxiproxy')

let dir: string
let cluster: TestCluster
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'holdfast-official-'))
  cluster = await startTestCluster({ definition: FIXTURE, env: { FIXTURE_DIR: dir } })
}, 60_000)
afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]()
  await rm(dir, { recursive: true, force: true })
})

testOfficialClients(['http'], () => ({ transport: 'http', url: cluster.url }))
