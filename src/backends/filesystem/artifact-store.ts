import { randomUUID } from 'node:crypto'
import { link, mkdir, open, readdir, rmdir, stat, unlink, type FileHandle } from 'node:fs/promises'
import { dirname, join, relative, resolve } from 'node:path'
import { HoldfastError } from '../../errors/holdfast-error.ts'
import {
  checkArtifactKey,
  checkPutOptions,
  DEFAULT_MIME_TYPE,
  LIST_LIMIT,
  rangeWithin,
  type ArtifactInfo,
  type ArtifactStore,
  type ByteRange,
  type ListedArtifact,
  type PutOptions,
  type StoredArtifact,
} from '../../ports/artifact-store.ts'
import type { Clock } from '../../ports/clock.ts'
import { BodyTooLarge, inBlocks } from '../object/blocks.ts'
import { parseFileUrl } from './url.ts'
import { FileReader } from './reader.ts'
import { keysBelow, SUFFIX } from './walk.ts'

/** Written and read at once. */
const BLOCK_BYTES = 256 * 1024
/** More than the first line of a file can have. */
const MAX_HEAD_BYTES = 8 * 1024
/** Where files grow until they are whole. Segments of keys have no dots. */
const UPLOADS = '.uploads'
/** A folder may be removed, since it is empty, between being made and being used. */
const MAX_LINK_ATTEMPTS = 10

/**
 * Opens the folder that a URL names; nothing is made before the first object is written.
 * @throws {HoldfastError} `invalid_option` for a malformed URL.
 */
export const openFileArtifacts = (url: string, clock: Clock): ArtifactStore =>
  new FileArtifactStore(resolve(parseFileUrl(url)), clock)

/**
 * Artifacts as files of a folder, each at the path that its key says. A file begins with a line of JSON (`mimeType`, `name`);
 * the bytes come after it: `tail -n +2` gives them.
 *
 * An object is written in a folder apart, made durable (`fsync`), and then linked to its name, which fails where the name is
 * taken: so it appears whole, once, and survives a power failure.
 */
class FileArtifactStore implements ArtifactStore {
  readonly #root: string
  readonly #clock: Clock
  #isClosed = false

  constructor(root: string, clock: Clock) {
    this.#root = root
    this.#clock = clock
  }

  async put(
    key: string,
    body: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    options: PutOptions,
  ): Promise<ArtifactInfo | 'exists' | 'too-large'> {
    const path = this.#pathOf(key)
    checkPutOptions(options)
    const { maxBytes, mimeType = DEFAULT_MIME_TYPE, name, signal } = options
    const upload = join(this.#root, UPLOADS, randomUUID())
    const file = await this.#guarded('a write', async () => {
      await mkdir(dirname(upload), { recursive: true, mode: 0o700 })
      return open(upload, 'wx', 0o600)
    })
    try {
      let size = 0
      try {
        await this.#write(file, Buffer.from(`${JSON.stringify({ mimeType, name })}\n`))
        for await (const block of inBlocks(body, { blockBytes: BLOCK_BYTES, maxBytes, signal })) {
          await this.#write(file, block)
          size += block.length
        }
        await this.#guarded('a write', () => file.sync())
      } finally {
        await this.#guarded('a write', () => file.close())
      }
      signal?.throwIfAborted()
      const isOurs = await this.#guarded('a write', () => this.#publish(upload, path))
      return isOurs ? { key, size, mimeType, name } : 'exists'
    } catch (error) {
      if (error instanceof BodyTooLarge) return 'too-large'
      throw error
    } finally {
      await this.#guarded('the removal of an unfinished file', () => removed(upload))
    }
  }

  async get(key: string, range?: ByteRange): Promise<StoredArtifact | 'beyond' | undefined> {
    const file = await this.#open(key)
    if (file === undefined) return undefined
    let isLent = false
    try {
      const { info, offset } = await this.#guarded('a read', () => describe(file, key))
      const part = rangeWithin(range, info.size)
      if (part === 'beyond') return part
      isLent = true
      return { info, ...part, body: this.#stream(file, offset + part.from, offset + part.to) }
    } finally {
      if (!isLent) await file.close()
    }
  }

  async head(key: string): Promise<ArtifactInfo | undefined> {
    const file = await this.#open(key)
    if (file === undefined) return undefined
    try {
      return (await this.#guarded('a read', () => describe(file, key))).info
    } finally {
      await file.close()
    }
  }

  async delete(keys: readonly string[]): Promise<void> {
    for (const path of keys.map((key) => this.#pathOf(key)))
      await this.#guarded('a deletion', async () => {
        await removed(path)
        // Folders that are empty now go too, up to the first that is not.
        for (let folder = dirname(path); relative(this.#root, folder) !== ''; folder = dirname(folder))
          if (!(await removedFolder(folder))) break
      })
  }

  async list(prefix: string, cursor = ''): Promise<{ objects: readonly ListedArtifact[]; cursor: string | undefined }> {
    this.#check()
    return this.#guarded('a list', async () => {
      const objects: ListedArtifact[] = []
      for await (const key of keysBelow(this.#root, prefix, cursor)) {
        if (objects.length === LIST_LIMIT) return { objects, cursor: objects.at(-1)!.key }
        const found = await unlessGone(stat(this.#pathOf(key)))
        if (found !== undefined) objects.push({ key, writtenMs: found.mtimeMs })
      }
      return { objects, cursor: undefined }
    })
  }

  async clearUploads(olderThanMs: number): Promise<number> {
    this.#check()
    const folder = join(this.#root, UPLOADS)
    return this.#guarded('the removal of unfinished files', async () => {
      let count = 0
      for (const name of (await unlessGone(readdir(folder))) ?? []) {
        const found = await unlessGone(stat(join(folder, name)))
        // Not since it began, but since its last write.
        if (found === undefined || this.#clock.now() - found.mtimeMs < olderThanMs) continue
        await removed(join(folder, name))
        count++
      }
      return count
    })
  }

  async close(): Promise<void> {
    this.#isClosed = true
  }

  #check(): void {
    if (this.#isClosed) throw new HoldfastError('closed', 'The artifact store was used after close().')
  }
  #pathOf(key: string): string {
    this.#check()
    checkArtifactKey(key)
    return join(this.#root, key + SUFFIX)
  }
  #open(key: string): Promise<FileReader | undefined> {
    const path = this.#pathOf(key)
    return this.#guarded('a read', () => unlessGone(FileReader.open(path)))
  }
  async #write(file: FileHandle, bytes: Buffer): Promise<void> {
    await this.#guarded('a write', async () => {
      for (let from = 0; from < bytes.length;) from += (await file.write(bytes, from)).bytesWritten
    })
  }

  /** Gives a finished file its name, and makes the name durable. `false` where the name is taken. */
  async #publish(upload: string, path: string): Promise<boolean> {
    const folder = dirname(path)
    for (let attempt = 1; ; attempt++) {
      await mkdir(folder, { recursive: true, mode: 0o700 })
      try {
        await link(upload, path)
        break
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException
        if (code === 'EEXIST') return false
        if (code !== 'ENOENT' || attempt === MAX_LINK_ATTEMPTS) throw error
      }
    }
    // A folder's entry lies in the folder above it.
    for (let place = folder; ; place = dirname(place)) {
      await synced(place)
      if (relative(this.#root, place) === '') return true
    }
  }

  #stream(file: FileReader, from: number, to: number): ReadableStream<Uint8Array> {
    let at = from
    return new ReadableStream<Uint8Array>(
      {
        pull: async (controller) => {
          try {
            if (at < to) {
              const block = await this.#guarded('a read', () => file.read(at, Math.min(BLOCK_BYTES, to - at)))
              if (block.length === 0)
                throw new HoldfastError('backend_failed', `A file of ${this.#root} ended before its end: it was cut.`)
              at += block.length
              controller.enqueue(block)
            }
          } catch (error) {
            await file.close()
            throw error
          }
          if (at < to) return
          await file.close()
          controller.close()
        },
        cancel: () => file.close(),
      },
      // Nothing is read before it is asked for.
      { highWaterMark: 0 },
    )
  }

  /** @throws {HoldfastError} `backend_failed` with what the system said. */
  async #guarded<T>(operation: string, run: () => Promise<T>): Promise<T> {
    try {
      return await run()
    } catch (cause) {
      if (cause instanceof HoldfastError) throw cause
      const remedy = REMEDIES[(cause as NodeJS.ErrnoException).code ?? '']
      throw new HoldfastError(
        'backend_failed',
        `The folder ${this.#root} did not carry out ${operation}.${remedy === undefined ? '' : ` ${remedy}`}`,
        { cause },
      )
    }
  }
}

const REMEDIES: Readonly<Record<string, string>> = {
  ENOSPC: 'Its disk is full.',
  EDQUOT: 'Its quota is used up.',
  EFBIG: 'The file would be larger than the system allows (ulimit -f).',
  EACCES: 'The process may not write there, or read what is there.',
  EROFS: 'Its file system is read-only.',
  EMFILE: 'The process has as many files open as it may (ulimit -n).',
  EPERM: 'Its file system knows no hard links, or forbids them: choose another.',
  ENOTSUP: 'Its file system knows no hard links: choose another.',
}

/** Reads the line at the beginning, and takes the measure of the rest. */
async function describe(file: FileReader, key: string): Promise<{ info: ArtifactInfo; offset: number }> {
  const size = await file.size()
  const start = await file.read(0, MAX_HEAD_BYTES)
  const end = start.indexOf('\n')
  if (end === -1) throw new HoldfastError('backend_failed', `The file of ${key} does not begin as an artifact does.`)
  const { mimeType, name } = JSON.parse(start.toString('utf8', 0, end)) as Pick<ArtifactInfo, 'mimeType' | 'name'>
  return { info: { key, size: size - end - 1, mimeType, name }, offset: end + 1 }
}

async function unlessGone<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}
const removed = (path: string): Promise<void> => unlessGone(unlink(path))

async function removedFolder(path: string): Promise<boolean> {
  try {
    await rmdir(path)
    return true
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOTEMPTY' || code === 'EEXIST' || code === 'ENOENT') return code === 'ENOENT'
    throw error
  }
}

async function synced(folder: string): Promise<void> {
  let handle: FileHandle
  try {
    handle = await open(folder)
  } catch (error) {
    // Its last object was deleted at once, and the folder with it.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
    throw error
  }
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
