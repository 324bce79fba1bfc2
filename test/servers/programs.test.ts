import { execFile } from 'node:child_process'
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, beforeEach, expect, test } from 'vitest'

const run = promisify(execFile)
let dir: string
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'holdfast-programs-'))
})
afterEach(async () => {
  await rm(dir, { recursive: true, force: true })
})

/** A program on the `PATH` of the child alone. */
async function program(name: string, script: string): Promise<void> {
  await writeFile(join(dir, name), `#!/bin/sh\n${script}`)
  await chmod(join(dir, name), 0o755)
}
const node = (file: string, env: Record<string, string>) =>
  run(process.execPath, [join(import.meta.dirname, file)], {
    env: { PATH: dir, TMPDIR: dir, TEST_CACHE_DIR: join(dir, 'cache'), ...env },
  })

test('what is missing, and must not be installed, fails by name, and says which variable to set', async () => {
  const failed = await node('prepare.ts', { TEST_NO_INSTALL: '1' }).catch((error: { stdout: string }) => error.stdout)
  expect(failed).toMatch(/^FAILED valkey is not installed, and TEST_NO_INSTALL=1 forbids .* set TEST_VALKEY_URL/m)
  expect(failed).toMatch(/^FAILED toxiproxy is not installed.* set TEST_TOXIPROXY_URL/m)
  expect(failed).toMatch(/[1-8] failed$/m)
})

test('an installation that fails says why, and which variable to set', async () => {
  await program('go', 'echo "no network" >&2; exit 1')
  const failed = await node('prepare.ts', {}).catch((error: { stdout: string }) => error.stdout)
  expect(failed).toMatch(/^FAILED toxiproxy can't be had: installing Go module .*TEST_TOXIPROXY_URL/m)
  expect(failed).toContain('no network')
})

test('a running container engine goes before packages', async () => {
  await program('docker', `echo "$@" >> ${join(dir, 'asked')}`)
  const { stdout } = await node('prepare.ts', { TEST_NO_INSTALL: '1' })
  expect(stdout).toContain('READY redis: redis:7 by docker')
  expect(stdout).toContain('8 passed, 0 failed')
  expect(await readFile(join(dir, 'asked'), 'utf8')).toContain('image inspect redis:7')
})
