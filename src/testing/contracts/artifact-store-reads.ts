import assert from 'node:assert/strict'
import {
  bytes,
  isInfo,
  MAX,
  MIB,
  pattern,
  patternBytes,
  pieces,
  randomless,
  read,
  type ArtifactBench,
} from './artifact-bench.ts'
import type { TestRunner } from './suite.ts'

/** What is read of an object: all of it, ranges, what is known of it, and nothing where there is none. */
export function artifactStoreReads(test: TestRunner['test'], bench: () => ArtifactBench): void {
  test('an object is read back as it was written, with its length, type and name, here and there', async () => {
    const { store, there, key } = bench()
    const written = await store.put(key('a'), pieces(bytes('grüße, '), bytes(''), randomless(300)), {
      ...MAX,
      mimeType: 'text/plain; charset=utf-8',
      name: 'Bericht „Q3“.txt',
    })
    const info = {
      key: key('a'),
      size: 309,
      mimeType: 'text/plain; charset=utf-8',
      name: 'Bericht „Q3“.txt',
    }
    assert.deepEqual(written, info)
    for (const one of [store, there]) {
      assert.deepEqual(await one.head(key('a')), info)
      assert.deepEqual(await read(one, key('a')), Buffer.concat([bytes('grüße, '), randomless(300)]))
    }
  })

  test('without type and name it is bytes', async () => {
    const { store, key, put } = bench()
    await put(key('a'), 'x')
    assert.deepEqual(await store.head(key('a')), {
      key: key('a'),
      size: 1,
      mimeType: 'application/octet-stream',
      name: undefined,
    })
  })

  test('an object may be empty; no range of it can be read', async () => {
    const { store, key } = bench()
    const written = await store.put(key('a'), [], MAX)
    assert.ok(isInfo(written) && written.size === 0)
    assert.equal((await read(store, key('a')))?.length, 0)
    assert.equal(await read(store, key('a'), { from: 0 }), 'beyond')
  })

  test('an object of 20 MiB in pieces of odd lengths is read back whole, and by ranges', async () => {
    const { store, there, key, reading } = bench()
    const length = 20 * MIB + 17
    const written = await store.put(key('big'), pattern(length), MAX)
    assert.ok(isInfo(written) && written.size === length)
    let at = 0
    for await (const part of (await reading(key('big'))).body) {
      assert.ok(Buffer.from(part).equals(patternBytes(at, at + part.length)), `from ${at}`)
      at += part.length
    }
    assert.equal(at, length)
    for (const [from, to] of [
      [0, 1],
      [8 * MIB - 3, 8 * MIB + 3],
      [length - 5, length],
      [12_345_678, 12_845_678],
    ] as const)
      assert.deepEqual(await read(there, key('big'), { from, to }), patternBytes(from, to))
  })

  test('a range ends at the end of the object; one that begins behind it is `beyond`', async () => {
    const { store, key, put } = bench()
    await put(key('a'), '0123456789')
    assert.equal(String(await read(store, key('a'), { from: 7 })), '789')
    assert.equal(String(await read(store, key('a'), { from: 7, to: 1_000_000 })), '789')
    assert.equal(String(await read(store, key('a'), { from: 0, to: 10 })), '0123456789')
    assert.equal(String(await read(store, key('a'), { from: 9, to: 10 })), '9')
    assert.equal(await read(store, key('a'), { from: 10 }), 'beyond')
    assert.equal(await read(store, key('a'), { from: 1e12, to: 1e12 + 5 }), 'beyond')
    const part = await store.get(key('a'), { from: 2, to: 100 })
    assert.ok(typeof part === 'object')
    assert.deepEqual([part.from, part.to, part.info.size], [2, 10, 10])
    await part.body.cancel()
  })

  test('what is no range is refused', async () => {
    const { store, key, put } = bench()
    await put(key('a'), '0123456789')
    for (const range of [{ from: -1 }, { from: 3, to: 3 }, { from: 3, to: 2 }, { from: 0.5 }, { from: NaN }])
      await assert.rejects(async () => store.get(key('a'), range), RangeError)
  })

  test('a body that is not read, or not to its end, can be cancelled, and the object read again', async () => {
    const { store, key, reading } = bench()
    await store.put(key('a'), pattern(3 * MIB), MAX)
    for (let round = 0; round < 200; round++) {
      const { body } = await reading(key('a'))
      if (round % 2 === 0) await body.cancel()
      else {
        const reader = body.getReader()
        await reader.read()
        await reader.cancel()
      }
    }
    assert.equal((await read(store, key('a')))?.length, 3 * MIB)
  })

  test('what is not there is `undefined`, also below and above what is', async () => {
    const { store, key, put } = bench()
    await put(key('a/b'), 'x')
    for (const missing of ['a', 'a/b/c', 'b', 'A/b']) {
      assert.equal(await store.head(key(missing)), undefined, missing)
      assert.equal(await store.get(key(missing)), undefined, missing)
      assert.equal(await store.get(key(missing), { from: 5 }), undefined, missing)
    }
  })
}
