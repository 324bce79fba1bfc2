import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const MAIN = new URL('../../dist/cli/main.js', import.meta.url).pathname

/** A command line of ours, running. */
export interface RunningCli extends AsyncDisposable {
  readonly child: ChildProcessWithoutNullStreams
  stdout(): string
  stderr(): string
  /** Resolves with everything printed so far once it matches; rejects if the program ends before. */
  until(pattern: RegExp): Promise<string>
  /** Exit code, or the name of the signal that ended it. */
  readonly ended: Promise<number | string>
}

/** Starts `holdfast …` in a data folder of its own. */
export function startCli(args: string[], env: Record<string, string> = {}): RunningCli {
  const dataDir = mkdtempSync(join(tmpdir(), 'holdfast-cli-'))
  const inherited = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(HOLDFAST_|PORT$|HOST$|LOG_LEVEL$|NODE_OPTIONS$)/.test(name)),
  )
  const child = spawn(process.execPath, [MAIN, ...args], { env: { ...inherited, HOLDFAST_DATA_DIR: dataDir, ...env } })
  let stdout = ''
  let stderr = ''
  const listeners = new Set<() => void>()
  const tell = (): void => listeners.forEach((listener) => listener())
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk.toString()
    tell()
  })
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString()
    tell()
  })
  const ended = once(child, 'close').then(([code, signal]) => {
    rmSync(dataDir, { recursive: true, force: true })
    return (code ?? signal) as number | string
  })
  return {
    child,
    stdout: () => stdout,
    stderr: () => stderr,
    ended,
    async until(pattern) {
      const early = ended.then((code) => {
        throw new Error(`ended with ${code} before ${pattern}\n${stdout}\n${stderr}`)
      })
      early.catch(() => undefined) // it ends after all, later
      while (!pattern.test(stdout + stderr)) {
        const { promise, resolve } = Promise.withResolvers<void>()
        listeners.add(resolve)
        await Promise.race([promise, early])
        listeners.delete(resolve)
      }
      return stdout + stderr
    },
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
      await ended
    },
  }
}

/** Runs a command to its end. */
export async function runCli(
  args: string[],
  env: Record<string, string> = {},
): Promise<{ code: number | string; stdout: string; stderr: string }> {
  const cli = startCli(args, env)
  cli.child.stdin.end()
  const code = await cli.ended
  return { code, stdout: cli.stdout(), stderr: cli.stderr() }
}

/** The address that `serve --json` prints. */
export async function addressOf(
  cli: RunningCli,
): Promise<{ url: string; port: number; livez: string; readyz: string; metrics: string }> {
  await cli.until(/\n/)
  return JSON.parse(cli.stdout().split('\n', 1)[0]!) as {
    url: string
    port: number
    livez: string
    readyz: string
    metrics: string
  }
}
