/** The other servers: packages of their own, in a folder of their own, installed when a run needs them. */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const peersDir = fileURLToPath(new URL('../peers', import.meta.url))

const lockHash = (): string =>
  createHash('sha256')
    .update(readFileSync(join(peersDir, 'package-lock.json')))
    .digest('hex')
const stampPath = join(peersDir, 'node_modules', '.installed-lock')

/** Whether the installed packages are those of the lock file. */
export function peersInstalled(): boolean {
  return existsSync(stampPath) && readFileSync(stampPath, 'utf8') === lockHash()
}

/**
 * Installs the packages of the lock file with `npm ci`; no install script of theirs is run.
 *
 * @throws Error with npm's output when the registry cannot be reached or refuses.
 */
export function installPeers(): void {
  const { status, stderr, error } = spawnSync('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], {
    cwd: peersDir,
    encoding: 'utf8',
    shell: process.platform === 'win32',
  })
  if (error !== undefined) throw error
  if (status !== 0)
    throw new Error(`npm ci in ${peersDir} ended with ${status} (use --no-peers to go without):\n${stderr}`)
  writeFileSync(stampPath, lockHash())
}

/** Installs them where they are not there yet. Throws as {@link installPeers} does. */
export function ensurePeers(): void {
  if (!peersInstalled()) installPeers()
}

/** Installed version of each package that `bench/peers` names, by package name. */
export function peerVersions(): Record<string, string> {
  const { dependencies } = JSON.parse(readFileSync(join(peersDir, 'package.json'), 'utf8')) as {
    dependencies: Record<string, string>
  }
  return Object.fromEntries(
    Object.keys(dependencies).map((name) => {
      const manifest = JSON.parse(readFileSync(join(peersDir, 'node_modules', name, 'package.json'), 'utf8')) as {
        version: string
      }
      return [name, manifest.version]
    }),
  )
}
