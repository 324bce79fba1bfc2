import assert from 'node:assert/strict'
import { ArtifactBench, MAX, type ArtifactStoreFixture } from './artifact-bench.ts'
import { artifactStoreKeys } from './artifact-store-keys.ts'
import { artifactStoreReads } from './artifact-store-reads.ts'
import { artifactStoreWrites } from './artifact-store-writes.ts'
import type { TestRunner } from './suite.ts'

/** What every `ArtifactStore` must do. Keys are unique to each test, so that a shared server may be used. */
export function artifactStoreContract(
  runner: TestRunner,
  name: string,
  create: () => Promise<ArtifactStoreFixture>,
): void {
  const { describe, test, beforeEach, afterEach } = runner
  describe(`artifact store contract: ${name}`, () => {
    let current: ArtifactBench
    beforeEach(async () => void (current = new ArtifactBench(await create())))
    afterEach(() => current.close())

    const bench = (): ArtifactBench => current
    artifactStoreReads(test, bench)
    artifactStoreWrites(test, bench)
    artifactStoreKeys(test, bench)

    test('a store may be closed twice, and takes nothing after that', async () => {
      const { key, place } = bench()
      const { store: one, there: other } = await create()
      await Promise.all([...new Set([one, other])].map((open) => open.close()))
      await one.close()
      await assert.rejects(async () => one.head(key('a')), { code: 'closed' })
      await assert.rejects(async () => one.put(key('a'), [], MAX), { code: 'closed' })
      await assert.rejects(async () => one.list(place), { code: 'closed' })
      await assert.rejects(async () => one.clearUploads(0), { code: 'closed' })
    })
  })
}
