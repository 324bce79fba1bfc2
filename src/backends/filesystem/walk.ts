import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { isArtifactKey } from '../../ports/artifact-store.ts'

/** Ends the name of a file that holds an object: no folder is called so, since segments of keys have no dots. */
export const SUFFIX = '.object'

/** Keys of the objects below a folder that begin with `prefix` and come after `after`, in ascending order. */
export async function* keysBelow(
  root: string,
  prefix: string,
  after: string,
  folder = '',
): AsyncGenerator<string, void, undefined> {
  for (const name of await namesIn(join(root, folder))) {
    const path = folder + name
    if (!name.endsWith('/')) {
      if (path.startsWith(prefix) && path > after && isArtifactKey(path)) yield path
    } else if ((path.startsWith(prefix) || prefix.startsWith(path)) && (path > after || after.startsWith(path)))
      yield* keysBelow(root, prefix, after, path)
  }
}

/** Objects of a folder, and folders with a slash behind them: so they sort as keys do. */
async function namesIn(folder: string): Promise<string[]> {
  try {
    const entries = await readdir(folder, { withFileTypes: true })
    const names = entries.flatMap((entry) =>
      entry.isDirectory()
        ? entry.name.startsWith('.')
          ? []
          : [`${entry.name}/`]
        : entry.name.endsWith(SUFFIX)
          ? [entry.name.slice(0, -SUFFIX.length)]
          : [],
    )
    return names.sort((a, b) => (a < b ? -1 : 1))
  } catch (error) {
    // Nothing was written yet, or its last object went a moment ago.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}
