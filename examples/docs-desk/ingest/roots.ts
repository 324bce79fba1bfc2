import { constants } from 'node:fs'
import { lstat, open, opendir, realpath } from 'node:fs/promises'
import { basename, isAbsolute, join, relative, resolve, sep } from 'node:path'
import { DeskError } from '../desk-error.ts'
import { formatOf } from '../reading/read-document.ts'
import type { IngestLimits } from '../settings.ts'

/** A file or folder inside an allowed folder, without symbolic links on its path. */
export interface ResolvedPath {
  path: string
  /** The allowed folder, resolved. */
  root: string
  /** Its name for people and for the store: "root/below/file.md". */
  source: string
  isFolder: boolean
}

/**
 * Finds a path inside the allowed folders. It may be absolute, relative to an allowed folder, or begin with such a
 * folder's name. Symbolic links are resolved first, so nothing outside can be reached through them or through "..".
 *
 * @throws {DeskError} `not_found`, with one message for what is not there and for what is outside, so that nobody can ask
 * which files exist elsewhere.
 */
export async function resolveInRoots(path: string, roots: readonly string[]): Promise<ResolvedPath> {
  if (roots.length === 0)
    throw new DeskError('not_found', 'No folder may be ingested. Set DOCS_DESK_ROOTS to the folders that may be.')
  for (const root of await resolveRoots(roots))
    for (const candidate of candidates(path, root)) {
      const real = await realpathOrNothing(candidate)
      if (real === undefined || !isInside(real, root)) continue
      const stats = await lstat(real)
      if (!stats.isFile() && !stats.isDirectory()) continue
      return { path: real, root, source: sourceOf(real, root), isFolder: stats.isDirectory() }
    }
  const names = roots.map((root) => `"${basename(root)}"`).join(', ')
  throw new DeskError('not_found', `There is no file or folder "${path}" inside the allowed folders (${names}).`)
}

/** The allowed folder that sources of this name begin with, resolved. @throws {DeskError} `not_found` */
export async function rootNamed(name: string, roots: readonly string[]): Promise<string> {
  const root = (await resolveRoots(roots)).find((path) => basename(path) === name)
  if (root === undefined)
    throw new DeskError(
      'not_found',
      `There is no allowed folder "${name}" here. DOCS_DESK_ROOTS must name it everywhere.`,
    )
  return root
}

/** The name of a file for people and for the store. */
export function sourceOf(path: string, root: string): string {
  return [basename(root), ...relative(root, path).split(sep)].filter(Boolean).join('/')
}

async function resolveRoots(roots: readonly string[]): Promise<string[]> {
  const resolved = await Promise.all(roots.map((root) => realpathOrNothing(root)))
  const missing = roots.find((_, index) => resolved[index] === undefined)
  if (missing !== undefined)
    throw new DeskError(
      'invalid_settings',
      `The allowed folder "${basename(missing)}" is missing. Make it, or change DOCS_DESK_ROOTS.`,
    )
  return resolved as string[]
}

function candidates(path: string, root: string): string[] {
  if (isAbsolute(path)) return [path]
  const [first, ...rest] = path.split(/[\\/]/)
  return first === basename(root) ? [resolve(root, rest.join(sep)), resolve(root, path)] : [resolve(root, path)]
}

async function realpathOrNothing(path: string): Promise<string | undefined> {
  if (path.includes('\0')) return undefined
  try {
    return await realpath(path)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    // What may not be looked at, does not exist, or is a loop of links, is no allowed path.
    if (code && ['ENOENT', 'ENOTDIR', 'EACCES', 'ELOOP', 'ENAMETOOLONG'].includes(code)) return undefined
    throw error
  }
}

function isInside(path: string, root: string): boolean {
  const below = relative(root, path)
  return below !== '..' && !below.startsWith(`..${sep}`) && !isAbsolute(below)
}

/** What {@link walkFolder} found. */
export interface Walked {
  files: string[]
  /** Folders below the depth bound; their documents are neither read nor dropped. */
  tooDeep: string[]
}

/**
 * All readable files of a folder, in order of their names. Hidden entries, `node_modules` and symbolic links are passed over.
 *
 * @throws {DeskError} `too_large` for more files than allowed; the reason of `signal`.
 */
export async function walkFolder(folder: string, limits: IngestLimits, signal?: AbortSignal): Promise<Walked> {
  const walked: Walked = { files: [], tooDeep: [] }
  const visit = async (path: string, depth: number): Promise<void> => {
    for await (const entry of await opendir(path)) {
      signal?.throwIfAborted()
      if (entry.name.startsWith('.') || entry.name === 'node_modules') continue
      const child = join(path, entry.name)
      if (entry.isFile() && formatOf(entry.name)) walked.files.push(child)
      else if (entry.isDirectory() && depth < limits.maxDepth) await visit(child, depth + 1)
      else if (entry.isDirectory()) walked.tooDeep.push(child)
      if (walked.files.length > limits.maxFiles)
        throw new DeskError(
          'too_large',
          `"${basename(folder)}" holds more than ${limits.maxFiles} readable files. Ingest its folders one by one.`,
        )
    }
  }
  await visit(folder, 1)
  walked.files.sort()
  return walked
}

/**
 * Reads a file that {@link resolveInRoots} or {@link walkFolder} found. Links are refused at opening, and the path is
 * resolved once more afterwards, so swapping a folder for a link in between gains nothing.
 *
 * @throws {Error} if it is too large, changed its nature, or cannot be read.
 */
export async function readFileInRoot(path: string, root: string, maxBytes: number): Promise<Uint8Array> {
  // O_NONBLOCK: opening a pipe must not wait for its writer.
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  try {
    const stats = await file.stat()
    const real = await realpath(path)
    const now = await lstat(real)
    if (!stats.isFile() || !isInside(real, root) || now.ino !== stats.ino || now.dev !== stats.dev)
      throw new Error('It was replaced while it was being read. Ingest again.')
    if (stats.size > maxBytes) throw new Error(`It has ${stats.size} bytes; at most ${maxBytes} are read. Split it.`)
    // One byte of room more than its size shows a file that grew meanwhile.
    const buffer = new Uint8Array(stats.size + 1)
    let length = 0
    for (let bytesRead = -1; bytesRead !== 0 && length < buffer.length; length += bytesRead)
      ({ bytesRead } = await file.read(buffer, length, buffer.length - length))
    if (length !== stats.size) throw new Error('It changed while it was being read. Ingest again.')
    return buffer.subarray(0, length)
  } finally {
    await file.close()
  }
}
