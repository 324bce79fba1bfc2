/** One core for the server, another for the load. */
import { execFileSync } from 'node:child_process'

/** The cores of a run. */
export interface Cores {
  /** `undefined` where processes cannot be pinned: the note says why. */
  pinned: { server: number; load: number } | undefined
  /** All that this process might use, as `taskset` writes them. */
  all: string | undefined
  note: string
}

/**
 * Chooses the cores from those this process may use, and moves this process to the load's core.
 *
 * `taskset` (util-linux) is how; elsewhere the run goes unpinned and says so.
 */
export function claimCores(): Cores {
  let allowed: number[]
  try {
    const answer = execFileSync('taskset', ['-cp', String(process.pid)], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    allowed = parseCoreList(answer.slice(answer.lastIndexOf(':') + 1))
  } catch {
    return {
      pinned: undefined,
      all: undefined,
      note: 'not pinned: taskset is not available here, so server and load share cores',
    }
  }
  const [server, ...others] = allowed
  const load = others.at(-1)
  if (server === undefined || load === undefined) {
    return {
      pinned: undefined,
      all: allowed.join(','),
      note: `not pinned: only core ${allowed.join(',')} may be used, so server and load share it`,
    }
  }
  move(String(load))
  return { pinned: { server, load }, all: allowed.join(','), note: `server on core ${server}, load on core ${load}` }
}

/** Runs a section whose processes, of which there are more than cores, all use all of them. */
export async function onAllCores<Result>(cores: Cores, body: () => Promise<Result>): Promise<Result> {
  if (cores.pinned === undefined) return body()
  move(cores.all!)
  try {
    return await body()
  } finally {
    move(String(cores.pinned.load))
  }
}

/** Moves this process to some cores; what it starts from now on runs there too. */
function move(list: string): void {
  execFileSync('taskset', ['-a', '-cp', list, String(process.pid)], { stdio: 'ignore' })
}

/** Reads a core list such as `0-2,5`. */
export function parseCoreList(text: string): number[] {
  return text
    .trim()
    .split(',')
    .flatMap((part) => {
      const [first, last = first] = part.split('-').map(Number)
      return Array.from({ length: last! - first! + 1 }, (_, index) => first! + index)
    })
}

/** Puts `taskset` before a command where the run is pinned. */
export function onServerCore(cores: Cores, command: readonly string[]): string[] {
  return cores.pinned === undefined ? [...command] : ['taskset', '-c', String(cores.pinned.server), ...command]
}
