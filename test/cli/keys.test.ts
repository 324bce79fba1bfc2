import { expect, test } from 'vitest'
import { createKeyRing } from '../../src/kernel/key-ring.ts'
import { runCli } from './cli.ts'

test('`holdfast keys generate` prints a key that a ring takes, each time another', async () => {
  const first = await runCli(['keys', 'generate'])
  const second = await runCli(['keys', 'generate', '--id', 'k2', '--json'])
  const { keys } = JSON.parse(second.stdout) as { keys: string }
  expect(first.stdout).toMatch(/^k1:[A-Za-z0-9+/]{43}=\n$/)
  const old = createKeyRing(first.stdout.trim())
  const ring = createKeyRing(`${keys},${first.stdout.trim()}`)
  const sealed = old.seal(Buffer.from('before'), 'test')
  expect(ring.open(sealed, 'test')?.toString()).toBe('before')
  expect(old.open(ring.seal(Buffer.from('after'), 'test'), 'test')).toBeUndefined()
})

test('an id that no ring takes is refused', async () => {
  const { code, stderr } = await runCli(['keys', 'generate', '--id', 'not:good'])
  expect(code).toBe(2)
  expect(stderr).toContain('1 to 8 letters or digits')
})
