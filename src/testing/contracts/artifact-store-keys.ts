import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { bytes, isInfo, MAX, read, type ArtifactBench } from './artifact-bench.ts'
import type { TestRunner } from './suite.ts'

/** What can be done with many objects, and what keys, names and links may hold. */
export function artifactStoreKeys(test: TestRunner['test'], bench: () => ArtifactBench): void {
  test('objects are deleted, many at once; those that are not there are passed over', async () => {
    const { store, there, place, key, put, keysOf } = bench()
    const keys = Array.from({ length: 30 }, (_, index) => key(`${index}/x`))
    await Promise.all(keys.map((one) => put(one, one)))
    await store.delete([...keys.slice(0, 20), key('never'), keys[0]!])
    assert.deepEqual(await keysOf(`${place}/`), keys.slice(20).toSorted())
    assert.equal(await there.get(keys[3]!), undefined)
    await store.delete(keys)
    await store.delete([])
    assert.deepEqual(await keysOf(`${place}/`), [])
    await put(keys[0]!, 'again')
    assert.equal(String(await read(there, keys[0]!)), 'again')
  })

  test('a list shows the keys with a prefix, in ascending order of bytes, and when each was written', async () => {
    const { store, place, key, put, keysOf } = bench()
    const names = ['a-b', 'a/a', 'a/b', 'a/B', 'a0', 'aa', 'a_', 'a-/b', 'b/a/c']
    const beforeMs = Date.now()
    for (const one of names) await put(key(one), 'x')
    const ordered = names.toSorted((a, b) => Buffer.compare(bytes(a), bytes(b)))
    assert.deepEqual(await keysOf(`${place}/`), ordered.map(key))
    assert.deepEqual(await keysOf(key('a')), ordered.filter((one) => one.startsWith('a')).map(key))
    assert.deepEqual(await keysOf(key('a/')), ['a/B', 'a/a', 'a/b'].map(key))
    assert.deepEqual(await keysOf(key('b/a/c')), [key('b/a/c')])
    assert.deepEqual(await keysOf(key('c')), [])
    for (const { writtenMs } of (await store.list(`${place}/`)).objects)
      assert.ok(Math.abs(writtenMs - beforeMs) < 60_000, `written at ${writtenMs}, and it is ${beforeMs}`)
  })

  test('a long list comes in pages, and shows each object once while others come and go', async () => {
    const { store, there, place, key, put } = bench()
    const keys = Array.from({ length: 1010 }, (_, index) => key(`n${String(index).padStart(4, '0')}`))
    for (let from = 0; from < keys.length; from += 50)
      await Promise.all(keys.slice(from, from + 50).map((one) => put(one, 'x')))
    const first = await store.list(`${place}/`)
    assert.equal(first.objects.length, 1000)
    await there.delete([...keys.slice(0, 5), ...keys.slice(998, 1003)])
    await put(key('n0000a'), 'x')
    await put(key('n1005a'), 'x')
    const second = await there.list(`${place}/`, first.cursor)
    assert.equal(second.cursor, undefined)
    assert.deepEqual(
      second.objects.map((object) => object.key),
      [...keys.slice(1003), key('n1005a')].toSorted(),
    )
  })

  test('what is no key is refused, whatever would be done with it', async () => {
    const { store, place, key, put, keysOf } = bench()
    const hostile = [
      '', '.', '..', '/', '/a', 'a/', 'a//b', '../a', 'a/../../b', 'a/./b', '.uploads/a', 'a\\b', 'a\0b', 'a\nb', 'ä', 'a b',
      'a%2fb', 'a.b', 'x'.repeat(65), Array(9).fill('a').join('/'), 'C:', '~', '$HOME', 'a?b=c', 'a#b',
    ] // prettier-ignore
    for (const one of hostile) {
      await assert.rejects(async () => store.put(one, [bytes('x')], MAX), RangeError, one)
      await assert.rejects(async () => store.get(one), RangeError, one)
      await assert.rejects(async () => store.head(one), RangeError, one)
      await assert.rejects(async () => store.delete([one]), RangeError, one)
      if (store.signUrl !== undefined) await assert.rejects(async () => store.signUrl!(one, 1000), RangeError, one)
    }
    const longest = Array.from({ length: 6 }, () => randomBytes(32).toString('hex')).join('/')
    await put(key(longest), 'x')
    assert.deepEqual(await keysOf(`${place}/`), [key(longest)])
  })

  test('names of any text are kept, types that are no text are refused', async () => {
    const { store, there, key } = bench()
    const names = [
      '../../etc/passwd',
      'a\r\nSet-Cookie: x',
      'nul\0',
      '"quoted"; filename=x',
      '👩‍👩‍👧',
      '"\\'.repeat(127),
      ' ',
    ]
    for (const [index, name] of names.entries()) {
      assert.ok(isInfo(await store.put(key(`n${index}`), [bytes('x')], { ...MAX, name })))
      assert.equal((await there.head(key(`n${index}`)))?.name, name)
    }
    assert.ok(
      isInfo(await store.put(key('long'), [bytes('x')], { ...MAX, name: '漢'.repeat(255), mimeType: 'x'.repeat(255) })),
    )
    assert.equal((await there.head(key('long')))?.name, '漢'.repeat(255))
    assert.equal((await there.head(key('long')))?.mimeType, 'x'.repeat(255))
    for (const bad of [
      { name: '' },
      { name: 'x'.repeat(256) },
      { name: '\ud800' },
      { mimeType: '' },
      { mimeType: 'a\r\nb' },
      { mimeType: 'ä' },
    ])
      await assert.rejects(async () => store.put(key('bad'), [bytes('x')], { ...MAX, ...bad }), RangeError)
    assert.equal(await store.head(key('bad')), undefined)
  })

  test('a signed URL serves the object, also a range, until it expires; another signature serves nothing', async () => {
    const { store, there, key } = bench()
    if (store.signUrl === undefined) return assert.equal(there.signUrl, undefined)
    await store.put(key('a'), [bytes('0123456789')], { ...MAX, mimeType: 'text/plain', name: 'ä".txt' })
    const url = await store.signUrl(key('a'), 60_000)
    const whole = await fetch(url)
    assert.equal(await whole.text(), '0123456789')
    assert.equal(whole.headers.get('content-type'), 'text/plain')
    assert.match(whole.headers.get('content-disposition') ?? '', /^attachment/)
    const part = await fetch(url, { headers: { range: 'bytes=2-4' } })
    assert.deepEqual([part.status, await part.text()], [206, '234'])
    const forged = await fetch(url.replace(/(Signature=)(.)/, (_, name: string, digit: string) => name + (digit === '0' ? '1' : '0'))) // prettier-ignore
    assert.equal(forged.status, 403)
    await forged.body?.cancel()
    const other = await fetch(url.replace('/a?', '/b?'))
    assert.equal(other.status, 403)
    await other.body?.cancel()
    const short = await store.signUrl(key('a'), 1000)
    await new Promise((resolve) => setTimeout(resolve, 2100))
    const late = await fetch(short)
    assert.equal(late.status, 403)
    await late.body?.cancel()
  })
}
