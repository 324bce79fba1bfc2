import { mkdirSync, rmdirSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'
import { HoldfastError } from '../errors/holdfast-error.ts'

/** A folder for a while. Disposing of it removes it with all that is in it, and what was made on the way there. */
export interface ThrowawayFolder extends Disposable {
  readonly path: string
}

/**
 * Makes a folder for a while.
 * @param path absolute; nothing is there.
 * @throws {HoldfastError} `backend_failed` where it can't be made.
 */
export function makeThrowawayFolder(path: string): ThrowawayFolder {
  const firstMade = make(path)
  return {
    path,
    [Symbol.dispose]() {
      rmSync(path, { recursive: true, force: true })
      // What was made on the way there goes too, unless somebody has begun to use it.
      for (let dir = path; dir !== firstMade && isRemoved(dirname(dir));) dir = dirname(dir)
    },
  }
}

/** Makes a folder; returns the first of those that were not there. */
function make(folder: string): string | undefined {
  try {
    return mkdirSync(folder, { recursive: true, mode: 0o700 })
  } catch (cause) {
    throw new HoldfastError('backend_failed', `${folder} can't be made: ${(cause as Error).message}`, { cause })
  }
}

function isRemoved(folder: string): boolean {
  try {
    rmdirSync(folder)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOTEMPTY') return false
    throw error
  }
}
