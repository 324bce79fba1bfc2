import assert from 'node:assert/strict'
import {
  bytes,
  isInfo,
  KIB,
  MAX,
  MIB,
  pattern,
  patternBytes,
  pieces,
  read,
  type ArtifactBench,
} from './artifact-bench.ts'
import type { TestRunner } from './suite.ts'

/** How an object comes about: once, whole or not at all, whatever becomes of its writer. */
export function artifactStoreWrites(test: TestRunner['test'], bench: () => ArtifactBench): void {
  test('an object never changes: a second writer of its key is told so, and the first one stays', async () => {
    const { store, there, key, put } = bench()
    await put(key('a'), 'first')
    assert.equal(await there.put(key('a'), [bytes('second')], MAX), 'exists')
    assert.equal(await there.put(key('a'), pattern(17 * MIB), MAX), 'exists')
    assert.equal(String(await read(store, key('a'))), 'first')
    assert.equal(await store.clearUploads(0), 0)
  })

  test('of many writers of one key at once one wins, whole', async () => {
    const { store, there, key } = bench()
    const results = await Promise.all(
      Array.from({ length: 12 }, (_, index) => {
        const text = String(index).padStart(2, '0').repeat(50_000)
        return (index % 2 === 0 ? store : there).put(key('a'), pieces(bytes(text), bytes(text)), MAX)
      }),
    )
    assert.equal(results.filter(isInfo).length, 1)
    const winner = String(results.findIndex(isInfo)).padStart(2, '0')
    assert.equal(String(await read(store, key('a'))), winner.repeat(100_000))
  })

  test('a body may have exactly as many bytes as it may, and not one more', async () => {
    const { store, key } = bench()
    assert.ok(isInfo(await store.put(key('a'), pieces(bytes('01234'), bytes('56789')), { maxBytes: 10 })))
    assert.equal(
      await store.put(key('b'), pieces(bytes('01234'), bytes('56789'), bytes('x')), { maxBytes: 10 }),
      'too-large',
    )
    assert.equal(await store.head(key('b')), undefined)
  })

  test('a body that is too large is not read on, and nothing is left of it', async () => {
    const { store, place, key, keysOf } = bench()
    let given = 0
    let isEnded = false
    async function* endless(): AsyncGenerator<Uint8Array> {
      try {
        for (; given < 1000; given++) yield patternBytes(0, MIB)
      } finally {
        isEnded = true
      }
    }
    assert.equal(await store.put(key('a'), endless(), { maxBytes: 20 * MIB }), 'too-large')
    assert.ok(given <= 21, `${given} MiB were asked for`)
    assert.ok(isEnded)
    assert.deepEqual(await keysOf(`${place}/`), [])
    assert.equal(await store.clearUploads(0), 0)
  })

  test('what a body throws reaches its writer, and nothing is left of it, however much was written', async () => {
    const { store, place, key, put, keysOf } = bench()
    for (const length of [0, 10 * KIB, 20 * MIB]) {
      const failing = async function* (): AsyncGenerator<Uint8Array> {
        yield* pattern(length)
        throw new Error('The source has failed.')
      }
      await assert.rejects(store.put(key('a'), failing(), MAX), /^Error: The source has failed\.$/)
      assert.equal(await store.head(key('a')), undefined)
      assert.deepEqual(await keysOf(`${place}/`), [])
    }
    assert.equal(await store.clearUploads(0), 0)
    await put(key('a'), 'now')
  })

  test('a body of something other than bytes is refused, and nothing is left of it', async () => {
    const { store, key } = bench()
    await assert.rejects(store.put(key('a'), ['text'] as never, MAX), TypeError)
    assert.equal(await store.head(key('a')), undefined)
  })

  test('a signal ends a write, also one whose body gives nothing, and nothing is left of it', async () => {
    const { store, key } = bench()
    for (const before of [0, 20 * MIB]) {
      const controller = new AbortController()
      const stalled = async function* (): AsyncGenerator<Uint8Array> {
        yield* pattern(before)
        setImmediate(() => controller.abort(new Error('Stopped.')))
        await new Promise(() => undefined)
      }
      await assert.rejects(store.put(key('a'), stalled(), { ...MAX, signal: controller.signal }), /Stopped/)
      assert.equal(await store.head(key('a')), undefined)
    }
    const aborted = AbortSignal.abort(new Error('Stopped before.'))
    await assert.rejects(store.put(key('a'), [bytes('x')], { ...MAX, signal: aborted }), /Stopped before/)
    assert.equal(await store.head(key('a')), undefined)
    assert.equal(await store.clearUploads(0), 0)
  })

  test('an object is neither read nor listed before it is whole', async () => {
    const { store, there, place, key, keysOf } = bench()
    const { promise: half, resolve: reachHalf } = Promise.withResolvers<void>()
    const { promise: rest, resolve: goOn } = Promise.withResolvers<void>()
    const body = async function* (): AsyncGenerator<Uint8Array> {
      yield* pattern(17 * MIB)
      reachHalf()
      await rest
      yield bytes('end')
    }
    const writing = store.put(key('a'), body(), MAX)
    await half
    for (const one of [store, there]) {
      assert.equal(await one.head(key('a')), undefined)
      assert.equal(await one.get(key('a')), undefined)
      assert.deepEqual((await one.list(`${place}/`)).objects, [])
    }
    assert.equal(await there.clearUploads(3_600_000), 0) // it is not that old
    goOn()
    assert.ok(isInfo(await writing))
    assert.deepEqual(await keysOf(`${place}/`), [key('a')])
    assert.equal((await there.head(key('a')))?.size, 17 * MIB + 3)
  })
}
