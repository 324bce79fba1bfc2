// Ends what a process has started, when that process is gone: by Ctrl-C, a crash, or SIGKILL. It is a process of its own in
// a group of its own, which reads what there is to end from its standard input; when that closes, the other end has died.
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { rmSync } from 'node:fs'
import { createInterface } from 'node:readline'

/** What must not outlive its owner: a process group, a container, or a folder. */
export type Ward = { group: number } | { container: string; engine: string } | { folder: string }

const wards = new Map<string, Ward>()
let watchdog: ChildProcess | undefined

function send(op: 'add' | 'drop', ward: Ward): void {
  watchdog?.stdin?.write(`${JSON.stringify({ op, ward })}\n`)
}

/** Has something ended with this process. Written before this returns, so that no crash comes between. */
export function guard(ward: Ward): void {
  if (watchdog === undefined) {
    watchdog = spawn(process.execPath, [import.meta.filename], { stdio: ['pipe', 'ignore', 'inherit'], detached: true })
    watchdog.stdin!.on('error', () => undefined) // it is gone itself: nothing is left to tell
  }
  wards.set(JSON.stringify(ward), ward)
  send('add', ward)
}

/** Says that something has ended already. The watchdog ends with its last ward. */
export async function release(ward: Ward): Promise<void> {
  send('drop', ward)
  wards.delete(JSON.stringify(ward))
  if (wards.size > 0 || watchdog === undefined) return
  const ended = watchdog
  watchdog = undefined
  const exited = ended.exitCode === null ? once(ended, 'exit') : undefined
  ended.stdin!.end()
  await exited
}

/** Ends a ward now, whatever state it is in. */
function end(ward: Ward): void {
  if ('container' in ward) spawnSync(ward.engine, ['rm', '--force', ward.container], { timeout: 10_000 })
  else if ('folder' in ward) rmSync(ward.folder, { recursive: true, force: true, maxRetries: 5 })
  else
    try {
      process.kill(-ward.group, 'SIGKILL')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
    }
}

if (import.meta.main) {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined)
  const kept = new Map<string, Ward>()
  const lines = createInterface(process.stdin)
  lines.on('line', (line) => {
    const { op, ward } = JSON.parse(line) as { op: 'add' | 'drop'; ward: Ward }
    if (op === 'add') kept.set(JSON.stringify(ward), ward)
    else kept.delete(JSON.stringify(ward))
  })
  lines.on('close', () => {
    // Folders last: until then processes may write to them.
    for (const ward of [...kept.values()].toSorted((a, b) => Number('folder' in a) - Number('folder' in b))) end(ward)
  })
}
