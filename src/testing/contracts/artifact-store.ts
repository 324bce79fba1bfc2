import assert from 'node:assert/strict'
import { randomBytes, randomUUID } from 'node:crypto'
import type { ArtifactInfo, ArtifactStore, ByteRange } from '../../ports/artifact-store.ts'
import type { TestRunner } from './suite.ts'

/** An artifact store under test, empty or shared, and whoever else uses the same one. */
export interface ArtifactStoreFixture {
  readonly store: ArtifactStore
  /** Another connection to the same objects; `store` itself where they are in memory. */
  readonly there: ArtifactStore
}

const KIB = 1024
const MIB = 1024 * KIB
const bytes = (text: string): Uint8Array => Buffer.from(text)
const MAX = { maxBytes: 64 * MIB }

/** Pieces of a body, each after a turn of the event loop. */
async function* pieces(...parts: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  for (const part of parts) {
    await new Promise((resolve) => setImmediate(resolve))
    yield part
  }
}
/** A body of `length` bytes that can be told from every other, in pieces of odd lengths. */
function* pattern(length: number, pieceBytes = 65_521): Generator<Uint8Array> {
  for (let from = 0; from < length; from += pieceBytes) yield patternBytes(from, Math.min(length, from + pieceBytes))
}
function patternBytes(from: number, to: number): Uint8Array {
  const part = Buffer.allocUnsafe(to - from)
  for (let at = from; at < to; at++) part[at - from] = (at * 31 + (at >> 8) * 7 + (at >> 16)) & 0xff
  return part
}
/** Reads an object, or a range, to its end. */
async function read(store: ArtifactStore, key: string, range?: ByteRange): Promise<Buffer | 'beyond' | undefined> {
  const found = await store.get(key, range)
  if (found === undefined || found === 'beyond') return found
  const parts: Uint8Array[] = []
  for await (const part of found.body) parts.push(part)
  const whole = Buffer.concat(parts)
  assert.equal(whole.length, found.to - found.from)
  return whole
}
const isInfo = (result: ArtifactInfo | string): result is ArtifactInfo => typeof result === 'object'

/** What every {@link ArtifactStore} must do. Keys are unique to each test, so that a shared server may be used. */
export function artifactStoreContract(
  runner: TestRunner,
  name: string,
  create: () => Promise<ArtifactStoreFixture>,
): void {
  const { describe, test, beforeEach, afterEach } = runner
  describe(`artifact store contract: ${name}`, () => {
    let store: ArtifactStore
    let there: ArtifactStore
    let place: string
    const key = (part: string): string => `${place}/${part}`
    const put = async (target: string, content: string): Promise<void> => {
      assert.ok(isInfo(await store.put(target, [bytes(content)], MAX)))
    }
    const keysOf = async (prefix: string): Promise<string[]> =>
      (await store.list(prefix)).objects.map((object) => object.key)
    beforeEach(async () => {
      ;({ store, there } = await create())
      place = `contract/${randomUUID()}`
    })
    afterEach(async () => {
      for (let cursor: string | undefined, isMore = true; isMore; isMore = cursor !== undefined) {
        const page = await store.list(`${place}/`, cursor)
        await store.delete(page.objects.map((object) => object.key))
        cursor = page.cursor
      }
      await Promise.all([...new Set([store, there])].map((one) => one.close()))
    })

    test('an object is read back as it was written, with its length, type and name, here and there', async () => {
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
      await put(key('a'), 'x')
      assert.deepEqual(await store.head(key('a')), {
        key: key('a'),
        size: 1,
        mimeType: 'application/octet-stream',
        name: undefined,
      })
    })

    test('an object may be empty; no range of it can be read', async () => {
      const written = await store.put(key('a'), [], MAX)
      assert.ok(isInfo(written) && written.size === 0)
      assert.equal((await read(store, key('a')))?.length, 0)
      assert.equal(await read(store, key('a'), { from: 0 }), 'beyond')
    })

    test('an object of 20 MiB in pieces of odd lengths is read back whole, and by ranges', async () => {
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
      await put(key('a'), '0123456789')
      for (const range of [{ from: -1 }, { from: 3, to: 3 }, { from: 3, to: 2 }, { from: 0.5 }, { from: NaN }])
        await assert.rejects(async () => store.get(key('a'), range), RangeError)
    })

    test('a body that is not read, or not to its end, can be cancelled, and the object read again', async () => {
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
      await put(key('a/b'), 'x')
      for (const missing of ['a', 'a/b/c', 'b', 'A/b']) {
        assert.equal(await store.head(key(missing)), undefined, missing)
        assert.equal(await store.get(key(missing)), undefined, missing)
        assert.equal(await store.get(key(missing), { from: 5 }), undefined, missing)
      }
    })

    test('an object never changes: a second writer of its key is told so, and the first one stays', async () => {
      await put(key('a'), 'first')
      assert.equal(await there.put(key('a'), [bytes('second')], MAX), 'exists')
      assert.equal(await there.put(key('a'), pattern(17 * MIB), MAX), 'exists')
      assert.equal(String(await read(store, key('a'))), 'first')
      assert.equal(await store.clearUploads(0), 0)
    })

    test('of many writers of one key at once one wins, whole', async () => {
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
      assert.ok(isInfo(await store.put(key('a'), pieces(bytes('01234'), bytes('56789')), { maxBytes: 10 })))
      assert.equal(
        await store.put(key('b'), pieces(bytes('01234'), bytes('56789'), bytes('x')), { maxBytes: 10 }),
        'too-large',
      )
      assert.equal(await store.head(key('b')), undefined)
    })

    test('a body that is too large is not read on, and nothing is left of it', async () => {
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
      await assert.rejects(store.put(key('a'), ['text'] as never, MAX), TypeError)
      assert.equal(await store.head(key('a')), undefined)
    })

    test('a signal ends a write, also one whose body gives nothing, and nothing is left of it', async () => {
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

    test('objects are deleted, many at once; those that are not there are passed over', async () => {
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
        isInfo(
          await store.put(key('long'), [bytes('x')], { ...MAX, name: '漢'.repeat(255), mimeType: 'x'.repeat(255) }),
        ),
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

    test('a store may be closed twice, and takes nothing after that', async () => {
      const { store: one, there: other } = await create()
      await Promise.all([...new Set([one, other])].map((open) => open.close()))
      await one.close()
      await assert.rejects(async () => one.head(key('a')), { code: 'closed' })
      await assert.rejects(async () => one.put(key('a'), [], MAX), { code: 'closed' })
      await assert.rejects(async () => one.list(place), { code: 'closed' })
      await assert.rejects(async () => one.clearUploads(0), { code: 'closed' })
    })

    async function reading(target: string): Promise<{ body: ReadableStream<Uint8Array> }> {
      const found = await store.get(target)
      assert.ok(typeof found === 'object')
      return found
    }
  })
}

const randomless = (length: number): Uint8Array => patternBytes(1000, 1000 + length)
