// What everything here works with: commands with a bound, free ports, waiting, the cache folder.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import { access, constants, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { homedir } from 'node:os'
import { delimiter, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

/** Where downloads and builds are kept from run to run: `TEST_CACHE_DIR`, else a folder in the user's cache. */
export function cacheDir(): string {
  const dir =
    process.env['TEST_CACHE_DIR'] ?? join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'holdfast-test')
  mkdirSync(dir, { recursive: true })
  return dir
}

/** Says in a line what takes time or changes the machine. On stderr, so that results on stdout stay whole. */
export const announce = (line: string): void => void process.stderr.write(`servers: ${line}\n`)

/** How a command is run. */
export interface CommandOptions {
  timeoutMs: number
  env?: Readonly<Record<string, string>>
  cwd?: string
}

/**
 * Runs a command to its end; resolves with what it wrote.
 * @throws Error with the end of its output, where it fails or takes longer than `timeoutMs`.
 */
export async function run(command: string, args: readonly string[], options: CommandOptions): Promise<string> {
  const child = spawn(command, args, {
    cwd: options.cwd,
    env: { ...process.env, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (chunk) => (output += chunk))
  let isLate = false
  const timer = setTimeout(() => {
    isLate = true
    process.kill(-child.pid!, 'SIGKILL')
  }, options.timeoutMs)
  try {
    const [code] = (await once(child, 'close')) as [number | null]
    if (isLate)
      throw new Error(
        `\`${command} ${args.join(' ')}\` did not end within ${options.timeoutMs} ms.\n${output.slice(-2000)}`,
      )
    if (code !== 0) throw new Error(`\`${command} ${args.join(' ')}\` failed (${code}).\n${output.slice(-2000)}`)
    return output
  } finally {
    clearTimeout(timer)
  }
}

/** The path of a program on `PATH`, or in the folders where systems keep servers. */
export async function which(program: string): Promise<string | undefined> {
  for (const folder of [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin', '/usr/bin']) {
    const path = join(folder, program)
    if (
      await access(path, constants.X_OK).then(
        () => true,
        () => false,
      )
    )
      return path
  }
  return undefined
}

/** Ports of the loopback address that nobody listened on a moment ago, all different. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'))
  await Promise.all(servers.map((server) => once(server, 'listening')))
  const ports = servers.map((server) => (server.address() as AddressInfo).port)
  await Promise.all(servers.map((server) => once(server.close(), 'close')))
  return ports
}

/**
 * Asks again and again until the answer is yes.
 * @param what names what is waited for, in the error
 * @throws Error after `timeoutMs`, with the last error that `isTrue` threw.
 */
export async function until(what: string, timeoutMs: number, isTrue: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + timeoutMs
  let last: unknown
  while (performance.now() < deadline) {
    try {
      if (await isTrue()) return
    } catch (error) {
      last = error
    }
    await sleep(25)
  }
  throw new Error(
    `${what} did not come about within ${timeoutMs} ms${last instanceof Error ? ` (${last.message})` : ''}.`,
    { cause: last },
  )
}

/**
 * Runs a task that at most one process of this machine may run at a time. A lock whose holder has gone is taken over.
 * @throws Error where the lock is not had within `timeoutMs`.
 */
export async function withLock<T>(name: string, timeoutMs: number, task: () => Promise<T>): Promise<T> {
  const file = join(cacheDir(), `${name}.lock`)
  await mkdir(cacheDir(), { recursive: true })
  await until(`The lock ${file}`, timeoutMs, async () => {
    try {
      await writeFile(file, String(process.pid), { flag: 'wx' })
      return true
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
      const holder = Number(await readFile(file, 'utf8').catch(() => '')) // gone since: the next turn takes it
      if (holder > 0 && !isAlive(holder)) await rm(file, { force: true })
      return false
    }
  })
  try {
    return await task()
  } finally {
    await rm(file, { force: true })
  }
}

/** Whether a process of this id exists. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
