import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import type { ServerDefinition } from 'holdfast'
import { connect, type ConnectOptions, type TestClient } from 'holdfast/testing'
import { afterAll } from 'vitest'
import { freePort } from '../conformance/server.ts'
import { BLOCKS, folderOf, writeBlocks } from './blocks.ts'

/** A block that is a program, running. */
export interface RunningProgram {
  readonly url: string
  /** Ends it by SIGTERM; resolves to its exit code. */
  stop(): Promise<number | null>
}

/** What a file of tests runs blocks with. */
export interface BlockRunner {
  /** Says that these blocks of a page are run here, or by a block that is. Every block that has a name is to be. */
  use(document: string, ...files: string[]): void
  pathOf(document: string, file: string): string
  /** A data folder for what is started. */
  readonly data: string
  /** Killed at the end, where they are still there. */
  readonly children: Set<ChildProcess>
  /** The server that a block exports, with a client connected in memory. */
  client(document: string, file: string, options?: ConnectOptions): Promise<TestClient>
  /** A block that is a program, started on a free port. */
  program(document: string, file: string, path?: string): Promise<RunningProgram>
}

/** Writes all blocks to files of this test file's own, and removes them at its end. @param name unique among test files */
export function blockRunner(name: string): BlockRunner {
  const written = writeBlocks(name)
  const data = mkdtempSync(join(tmpdir(), 'holdfast-docs-'))
  const children = new Set<ChildProcess>()
  afterAll(() => {
    for (const child of children) child.kill('SIGKILL')
    written.remove()
    rmSync(data, { recursive: true, force: true })
  })
  const pathOf = (document: string, file: string): string => join(written.folder, folderOf(document), file)

  function use(document: string, ...files: string[]): void {
    for (const file of files)
      if (!BLOCKS.some((block) => block.document === document && block.file === file))
        throw new Error(`${document} has no block ${file}.`)
  }

  async function client(document: string, file: string, options?: ConnectOptions): Promise<TestClient> {
    const module = (await import(pathToFileURL(pathOf(document, file)).href)) as { default: ServerDefinition }
    return connect(module.default, options)
  }

  async function program(document: string, file: string, path = '/mcp'): Promise<RunningProgram> {
    const port = await freePort()
    const child = spawn(process.execPath, [pathOf(document, file)], {
      env: { ...process.env, PORT: String(port), HOLDFAST_DATA_DIR: data },
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    children.add(child)
    let errors = ''
    child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()))
    const exited = once(child, 'exit')
    const url = `http://127.0.0.1:${port}${path}`
    for (;;) {
      if (child.exitCode !== null) throw new Error(`${document} ${file} ended with ${child.exitCode}:\n${errors}`)
      try {
        await (await fetch(url, { method: 'OPTIONS' })).body?.cancel()
        break
      } catch {
        await sleep(25) // nobody listens yet
      }
    }
    return {
      url,
      async stop() {
        child.kill('SIGTERM')
        await exited
        children.delete(child)
        return child.exitCode
      },
    }
  }

  return { use, pathOf, data, children, client, program }
}
