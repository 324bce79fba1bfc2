/** Every process the bench starts is held here, so that none outlives it. */
import type { ChildProcess } from 'node:child_process'

const children = new Set<ChildProcess>()

/** Holds a child until it exits. */
export function track(child: ChildProcess): void {
  children.add(child)
  child.once('exit', () => children.delete(child))
}

/** Ends a child: SIGTERM, then SIGKILL when it has not gone within `graceMs`. */
export async function stop(child: ChildProcess, graceMs = 2000): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = new Promise<void>((resolve) => {
    child.once('exit', () => resolve())
  })
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), graceMs)
  await exited
  clearTimeout(timer)
}

/** Kills whatever is left, at once. For the end of the bench itself. */
export function killAll(): void {
  for (const child of children) child.kill('SIGKILL')
}
