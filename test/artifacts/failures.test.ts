import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import { afterAll, describe, expect, test, vi } from 'vitest'
import { openArtifactStore } from '../../src/compose/artifacts.ts'
import { systemClock } from '../../src/ports/clock.ts'
import { needs } from '../servers/shared.ts'
import { startToxiproxy } from '../servers/toxiproxy.ts'
import { S3_CREDENTIALS, startVersitygw } from '../servers/versitygw.ts'

vi.setConfig({ testTimeout: 60_000 })
vi.stubEnv('AWS_ACCESS_KEY_ID', S3_CREDENTIALS.accessKeyId)
vi.stubEnv('AWS_SECRET_ACCESS_KEY', S3_CREDENTIALS.secretAccessKey)
await needs('versitygw', 'toxiproxy')
const s3 = await startVersitygw()
const dir = mkdtempSync(join(tmpdir(), 'holdfast-failures-'))
afterAll(async () => {
  await s3[Symbol.asyncDispose]()
  rmSync(dir, { recursive: true })
})

const MIB = 1024 * 1024
const MAX = { maxBytes: 100 * MIB }
const run = promisify(execFile)
const WRITER = join(import.meta.dirname, 'writer.ts')
const running = (args: readonly string[]) =>
  spawn(process.execPath, [WRITER, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })

describe.each([
  ['a folder', () => `file:${dir}/killed`],
  ['S3', () => s3.url],
])('a writer over %s', (_, urlOf) => {
  test('that is killed in the middle leaves nothing to be read or listed, and what it left is cleared away', async () => {
    const writer = running([urlOf(), '20'])
    await once(createInterface(writer.stdout), 'line')
    const exited = once(writer, 'exit')
    writer.kill('SIGKILL')
    await exited
    const store = await openArtifactStore(urlOf(), systemClock)
    try {
      expect(await store.head('kill/mid-upload')).toBeUndefined()
      expect(await store.get('kill/mid-upload')).toBeUndefined()
      expect((await store.list('')).objects).toEqual([])
      expect(await store.clearUploads(3_600_000)).toBe(0) // it may still be written
      expect(await store.clearUploads(0)).toBe(1)
      expect(await store.clearUploads(0)).toBe(0)
      expect(await store.put('kill/mid-upload', [Buffer.from('whole')], MAX)).toMatchObject({ size: 5 })
      await store.delete(['kill/mid-upload'])
    } finally {
      await store.close()
    }
  })
})

describe('a folder', () => {
  test('whose file may not grow fails the write, says why, and keeps nothing of it', async () => {
    // As a full disk does, for who may not mount one: no file of this process may be bigger than 4 MiB.
    const { stdout } = await run('sh', [
      '-c',
      `ulimit -f 8192; exec "$0" "$@"`,
      process.execPath,
      WRITER,
      `file:${dir}/limited`,
      '0',
    ])
    expect(stdout).toMatch(/did not carry out a write\. The file would be larger than the system allows/)
    expect(readdirSync(join(dir, 'limited'), { recursive: true })).toEqual(['.uploads'])
  })

  test.runIf(process.getuid?.() === 0 && process.platform === 'linux')(
    'on a disk that is full fails the write, says so, keeps nothing of it, and goes on when there is room',
    async () => {
      const disk = join(dir, 'disk')
      mkdirSync(disk)
      await run('mount', ['-t', 'tmpfs', '-o', 'size=6m', 'tmpfs', disk])
      try {
        const store = await openArtifactStore(`file:${disk}/artifacts`, systemClock)
        await store.put('a/before', [Buffer.alloc(MIB)], MAX)
        const full = store.put(
          'a/full',
          Array.from({ length: 20 }, () => Buffer.alloc(MIB)),
          MAX,
        )
        await expect(full).rejects.toMatchObject({
          code: 'backend_failed',
          message: expect.stringContaining('Its disk is full.'),
        })
        expect((await store.list('')).objects.map(({ key }) => key)).toEqual(['a/before'])
        expect(readdirSync(join(disk, 'artifacts/.uploads'))).toEqual([])
        expect(await store.put('a/after', [Buffer.alloc(4 * MIB)], MAX)).toMatchObject({ size: 4 * MIB })
        await store.close()
      } finally {
        await run('umount', [disk])
      }
    },
  )

  test.runIf(process.platform === 'linux')(
    'whose readers are dropped without a word closes their files, and the process lives',
    async () => {
      const script = `
      import { readdirSync, readlinkSync } from 'node:fs'
      import { openArtifactStore } from ${JSON.stringify(new URL('../../src/compose/artifacts.ts', import.meta.url).href)}
      import { systemClock } from ${JSON.stringify(new URL('../../src/ports/clock.ts', import.meta.url).href)}
      const store = await openArtifactStore('file:' + process.argv[1], systemClock)
      await store.put('a/b', [Buffer.alloc(1000000)], { maxBytes: 1e9 })
      const pathOf = (descriptor) => { try { return readlinkSync('/proc/self/fd/' + descriptor) } catch { return '' } }
      const open = () => readdirSync('/proc/self/fd').filter((descriptor) => pathOf(descriptor).endsWith('.object')).length
      const drop = async (turn) => {
        const { body } = await store.get('a/b')
        if (turn % 2 === 0) await body.getReader().read()
      }
      for (let turn = 0; turn < 50; turn++) await drop(turn)
      const most = open()
      for (let turn = 0; turn < 100 && open() > 0; turn++) {
        gc()
        await new Promise((resolve) => setTimeout(resolve, 10))
      }
      console.log(most > 0, open())
    `
      const { stdout } = await run(process.execPath, [
        '--expose-gc',
        '--input-type=module',
        '-e',
        script,
        join(dir, 'dropped'),
      ])
      expect(stdout.trim()).toBe('true 0')
    },
  )
})

describe('S3', () => {
  test('that takes no bytes any more ends a write and a read in their time, and serves again when it is back', async () => {
    const store = await openArtifactStore(
      `${s3.url}&transferTimeoutMs=1000&commandTimeoutMs=1000&connectTimeoutMs=500`,
      systemClock,
    )
    await store.put('away/before', [Buffer.alloc(20 * MIB, 'x')], MAX)
    const found = await store.get('away/before')
    if (typeof found !== 'object') throw new Error('It is not there.')
    const reader = found.body.getReader()
    await reader.read()
    s3.process.pause()
    const sinceMs = performance.now()
    await expect(store.put('away/during', [Buffer.alloc(20 * MIB)], MAX)).rejects.toMatchObject({
      code: 'backend_failed',
    })
    await expect(store.head('away/before')).rejects.toMatchObject({ code: 'backend_failed' })
    const rest = async (): Promise<void> => {
      while (!(await reader.read()).done);
    }
    await expect(rest()).rejects.toMatchObject({ code: 'backend_failed' })
    expect(performance.now() - sinceMs).toBeLessThan(15_000)
    s3.process.resume()
    expect(await store.head('away/during')).toBeUndefined()
    expect(await store.head('away/before')).toMatchObject({ size: 20 * MIB })
    await store.delete(['away/before'])
    await store.clearUploads(0)
    await store.close()
  })

  test('that takes no bytes any more holds a small write up for as long as a command, not for as long as a part', async () => {
    const store = await openArtifactStore(`${s3.url}&transferTimeoutMs=60000&commandTimeoutMs=300`, systemClock)
    s3.process.pause()
    const sinceMs = performance.now()
    await expect(store.put('away/small', [Buffer.alloc(1000)], MAX)).rejects.toMatchObject({ code: 'backend_failed' })
    expect(performance.now() - sinceMs).toBeLessThan(3000)
    s3.process.resume()
    await store.close()
  })

  test('that cuts connections again and again gets a whole object all the same: parts are tried again', async () => {
    await using toxiproxy = await startToxiproxy()
    const link = await toxiproxy.proxy('s3', s3)
    const store = await openArtifactStore(
      s3.url.replace(encodeURIComponent(s3.endpoint), encodeURIComponent(`http://127.0.0.1:${link.port}`)),
      systemClock,
    )
    let cuts = 0
    async function* body() {
      for (let part = 0; part < 6; part++) {
        yield Buffer.alloc(8 * MIB, part)
        // Cut while the part that was just given is on its way.
        if (part === 1 || part === 3) {
          cuts++
          await link.add('reset_peer', { timeout: 0 }, { stream: 'upstream' })
          setTimeout(() => void link.clear(), 50)
        }
      }
    }
    expect(await store.put('cut/often', body(), MAX)).toMatchObject({ size: 48 * MIB })
    expect(cuts).toBe(2)
    const found = await store.get('cut/often', { from: 24 * MIB - 1, to: 24 * MIB + 1 })
    if (typeof found !== 'object') throw new Error('It is not there.')
    expect([...Buffer.from(await new Response(found.body).arrayBuffer())]).toEqual([2, 3])
    await store.delete(['cut/often'])
    await store.close()
  })

  test.each([
    ['a bucket that is missing', s3.url.replace('holdfast', 'missing'), 'The bucket does not exist'],
    [
      'another endpoint',
      s3.url.replace(/endpoint=.*/, 'endpoint=http%3A%2F%2F127.0.0.1%3A1'),
      'did not carry out a write',
    ],
  ])('%s is an error that says so', async (_, url, message) => {
    const store = await openArtifactStore(url, systemClock)
    await expect(store.put('a/b', [Buffer.from('x')], MAX)).rejects.toThrow(message)
    await expect(store.get('a/b')).rejects.toMatchObject({ code: 'backend_failed' })
    await store.close()
  })

  test('wrong credentials are an error that names the variable', async () => {
    vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'wrong')
    const store = await openArtifactStore(s3.url, systemClock)
    await expect(store.put('a/b', [Buffer.from('x')], MAX)).rejects.toThrow('AWS_SECRET_ACCESS_KEY')
    vi.stubEnv('AWS_SECRET_ACCESS_KEY', S3_CREDENTIALS.secretAccessKey)
    await store.close()
  })
})

test.each([
  ['s3://', /malformed/],
  ['s3://Bucket', /names the bucket "Bucket"/],
  ['s3://key:secret@bucket', /malformed/],
  ['s3://bucket/a//b', /has the prefix/],
  ['s3://bucket/../x y', /has the prefix/],
  ['s3://bucket?regoin=x', /has the option "regoin"; there are region/],
  ['s3://bucket?endpoint=minio:9000', /must be a URL of http or https/],
  ['s3://bucket?pathStyle=maybe', /must be one of true, false/],
  ['s3://bucket?commandTimeoutMs=1', /whole number from 10/],
  ['file:', /names no folder/],
  ['file://host/share', /malformed|names no folder/],
  ['file:a?b=c', /takes no options/],
  ['file:%zz', /percent-encoded/],
  ['gs://bucket', /has the scheme "gs:"; there are file:, s3:\/\/ and memory:/],
])('the URL %s is refused with what is wrong', async (url, message) => {
  await expect(openArtifactStore(url, systemClock)).rejects.toThrow(message)
})
