import assert from 'node:assert/strict'
import type { ArtifactStore } from '../../ports/artifact-store.ts'
import { FaultyArtifactStore } from '../faults/artifact-store.ts'
import { seededFaults, type OperationFault } from '../faults/plan.ts'
import { ArtifactBench, bytes, type ArtifactStoreFixture } from './artifact-bench.ts'
import type { TestRunner } from './suite.ts'

const MAX = { maxBytes: 1024 * 1024 }
/** Far more than faults of every second operation need. */
const MAX_ATTEMPTS = 1000
const failed = { code: 'backend_failed' }

/**
 * What a caller of any {@link ArtifactStore} may rely on when operations fail, and above all when they were carried out and the
 * answer was lost: how it finds out, and what trying again does.
 */
export function artifactStoreFaultContract(
  runner: TestRunner,
  name: string,
  create: () => Promise<ArtifactStoreFixture>,
): void {
  const { describe, test, beforeEach, afterEach } = runner
  describe(`artifact store contract under faults: ${name}`, () => {
    /** The store as a caller sees it, and behind the faults. */
    let store: FaultyArtifactStore
    let sure: ArtifactStore
    let bench: ArtifactBench
    let fault: OperationFault | undefined
    const key = (part: string): string => bench.key(part)
    const write = (part: string, text: string) => store.put(key(part), [bytes(text)], MAX)
    const textOf = async (part: string): Promise<string | undefined> => {
      const found = await sure.get(key(part))
      return typeof found === 'object' ? new Response(found.body).text() : undefined
    }
    const keys = (): Promise<string[]> => bench.keysOf(`${bench.place}/`)
    beforeEach(async () => {
      bench = new ArtifactBench(await create())
      sure = bench.store
      fault = undefined
      store = new FaultyArtifactStore(sure, () => fault)
    })
    afterEach(() => bench.close())

    /** Does something under a fault, which must make it fail. */
    const failing = async (kind: OperationFault, act: () => Promise<unknown>): Promise<void> => {
      fault = kind
      await assert.rejects(act(), failed)
      fault = undefined
    }

    test('what fails before it is carried out has changed nothing, and succeeds when tried again', async () => {
      await failing('error-before', () => write('a', 'mine'))
      assert.deepEqual(await keys(), [])
      assert.equal(typeof (await write('a', 'mine')), 'object')
      await failing('error-before', () => store.delete([key('a')]))
      assert.equal(await textOf('a'), 'mine')
      await store.delete([key('a')])
      assert.deepEqual(await keys(), [])
    })

    test('a write whose answer was lost is told `exists` when tried again, and the object is the first one’s', async () => {
      await failing('time-out-after', () => write('a', 'mine'))
      assert.equal(await write('a', 'mine, again'), 'exists')
      assert.equal(await textOf('a'), 'mine')
    })

    test('a deletion whose answer was lost may be tried again, and leaves others alone', async () => {
      await write('a', 'mine')
      await write('b', 'other')
      await failing('time-out-after', () => store.delete([key('a')]))
      await store.delete([key('a')])
      assert.deepEqual(await keys(), [key('b')])
    })

    test('reads change nothing, whatever becomes of their answers', async () => {
      await write('a', 'mine')
      const reads = [
        () => store.head(key('a')),
        () => store.list(`${bench.place}/`),
        () => store.clearUploads(3_600_000),
        ...(store.signUrl === undefined ? [] : [() => store.signUrl!(key('a'), 1000)]),
      ]
      for (const read of reads)
        for (const kind of ['error-before', 'time-out-after'] as const) await failing(kind, read)
      assert.equal(await textOf('a'), 'mine')
    })

    test('of many writers of one key with lost answers and delays, one object comes about, and stays', async () => {
      const faults: OperationFault[] = ['error-before', 'time-out-after', { delayMs: 1 }, { delayMs: 5 }]
      const seen = new Set<string>()
      const writer = async (id: number): Promise<void> => {
        const faulty = new FaultyArtifactStore(id % 2 === 0 ? sure : bench.there, seededFaults(id + 1, 0.5, faults))
        for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
          try {
            const result = await faulty.put(key('a'), [bytes(`by ${id}`)], MAX)
            seen.add((await textOf('a'))!)
            if (result === 'exists' || typeof result === 'object') return
          } catch (error) {
            assert.equal((error as { code?: string }).code, 'backend_failed')
          }
        }
        assert.fail(`Writer ${id} did not come to an end.`)
      }
      await Promise.all(Array.from({ length: 8 }, (_, id) => writer(id)))
      assert.equal(seen.size, 1)
      assert.match([...seen][0]!, /^by \d$/)
    })
  })
}
