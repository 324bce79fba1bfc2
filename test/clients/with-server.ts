import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll } from 'vitest'
import { startServer, type RunningServer, type StartOptions } from '../conformance/server.ts'

/** The fixture's module. */
export const FIXTURE = resolve(import.meta.dirname, 'fixture.ts')

/** Serves the fixture, or another definition, for the tests of a file or `describe` block, in a process and a folder of its own. */
export function withServer({ definition = FIXTURE, ...options }: StartOptions & { definition?: string } = {}): {
  readonly url: string
  readonly origin: string
  readonly dir: string
} {
  let dir: string
  let server: RunningServer | undefined
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'holdfast-clients-'))
    server = await startServer(definition, dir, new AbortController().signal, options)
  })
  afterAll(async () => {
    await server?.[Symbol.asyncDispose]()
    await rm(dir, { recursive: true, force: true })
  })
  return {
    get url() {
      return server!.url
    },
    get origin() {
      return server!.origin
    },
    get dir() {
      return dir
    },
  }
}
