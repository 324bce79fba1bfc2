import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { PROGRAMS } from './catalog.ts'
import { needs } from './shared.ts'
import { isAlive, until } from './tools.ts'

await needs('redis')

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
  expect(failed).toMatch(/[1-9]\d* failed$/m)
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
  expect(stdout).toContain(`${Object.keys(PROGRAMS).length} passed, 0 failed`)
  expect(await readFile(join(dir, 'asked'), 'utf8')).toContain('image inspect redis:7')
})

test('a server in a container is started and ended by way of its engine, also when its owner is killed', async () => {
  // An engine that runs the program here, under the arguments that it was given for the container.
  await program(
    'docker',
    `case "$1" in
run)
  while [ "$1" != --name ]; do shift; done; echo $$ > ${dir}/$2.pid
  while [ "$1" != --entrypoint ]; do shift; done; program=$2; shift 3; exec "$program" "$@" ;;
kill) kill -s "$3" "$(cat ${dir}/$4.pid)" ;;
rm) kill -s KILL "$(cat ${dir}/$3.pid)"; echo "$3" > ${dir}/removed ;;
esac`,
  )
  const env = { ...process.env, PATH: `${dir}:${process.env['PATH']}`, TEST_CACHE_DIR: join(dir, 'cache') }
  const owner = spawn(process.execPath, [join(import.meta.dirname, 'owner.ts')], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [line] = (await once(createInterface(owner.stdout), 'line')) as [string]
  const { pid } = JSON.parse(line) as { pid: number }
  expect(isAlive(pid)).toBe(true)
  const exited = once(owner, 'exit')
  owner.kill('SIGKILL')
  await exited
  await until('The container being removed', 5000, async () => existsSync(join(dir, 'removed')) && !isAlive(pid))
  expect(await readFile(join(dir, 'removed'), 'utf8')).toMatch(/^holdfast-test-/)
})
