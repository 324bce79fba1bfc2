import { execFileSync } from 'node:child_process'
import { mkdir, rename, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { readFileInRoot, resolveInRoots, walkFolder } from '../../examples/docs-desk/ingest/roots.ts'
import { DEFAULT_LIMITS } from '../../examples/docs-desk/settings.ts'
import { temporaryFolder } from './support.ts'

/** `base/handbook` is allowed; `base/secret` and `base/handbook-old` are not. */
async function makeFolders(): Promise<{ base: string; root: string }> {
  const base = await temporaryFolder()
  const root = join(base, 'handbook')
  for (const folder of ['handbook/team', 'secret', 'handbook-old']) await mkdir(join(base, folder), { recursive: true })
  await writeFile(join(root, 'a.md'), 'inside')
  await writeFile(join(root, 'team/b.md'), 'inside')
  await writeFile(join(base, 'secret/key.md'), 'outside')
  await writeFile(join(base, 'handbook-old/c.md'), 'outside')
  return { base, root }
}

describe('allowed folders', () => {
  it('finds a path that is absolute, relative to an allowed folder, or begins with its name', async () => {
    const { root } = await makeFolders()
    for (const path of [join(root, 'team/b.md'), 'team/b.md', 'handbook/team/b.md', './team/../team/b.md'])
      expect(await resolveInRoots(path, [root])).toEqual({
        path: join(root, 'team/b.md'),
        root,
        source: 'handbook/team/b.md',
        isFolder: false,
      })
    expect(await resolveInRoots('.', [root])).toMatchObject({ path: root, source: 'handbook', isFolder: true })
  })

  it('refuses every way out, and says the same for what exists and for what does not', async () => {
    const { base, root } = await makeFolders()
    await symlink(join(base, 'secret'), join(root, 'folder-link'))
    await symlink(join(base, 'secret/key.md'), join(root, 'file-link.md'))
    await symlink('/', join(root, 'everything'))
    await symlink('loop', join(root, 'loop'))
    const attempts = [
      '../secret/key.md',
      '../secret/none.md',
      'team/../../secret/key.md',
      join(base, 'secret/key.md'),
      join(base, 'handbook-old/c.md'),
      '../handbook-old/c.md',
      'handbook/../secret/key.md',
      'folder-link',
      'folder-link/key.md',
      'file-link.md',
      `everything${base}/secret/key.md`,
      'loop',
      '/etc/passwd',
      '..',
      'a.md\0.png',
      `${'x/'.repeat(3000)}a.md`,
      'a.md/b.md',
    ]
    for (const path of attempts)
      await expect(resolveInRoots(path, [root]), path).rejects.toThrow(
        `There is no file or folder "${path}" inside the allowed folders ("handbook").`,
      )
  })

  it('follows an allowed folder that is itself a link', async () => {
    const { base, root } = await makeFolders()
    await symlink(root, join(base, 'linked'))
    expect(await resolveInRoots('a.md', [join(base, 'linked')])).toMatchObject({ path: join(root, 'a.md') })
  })

  it('says what to set where nothing is allowed or an allowed folder is missing', async () => {
    await expect(resolveInRoots('a.md', [])).rejects.toThrow('Set DOCS_DESK_ROOTS')
    await expect(resolveInRoots('a.md', ['/nowhere/handbook'])).rejects.toThrow('"handbook" is missing')
  })

  it('walks past links, hidden entries, other endings, node_modules and what lies too deep', async () => {
    const { base, root } = await makeFolders()
    await symlink(join(base, 'secret'), join(root, 'folder-link'))
    await symlink(join(base, 'secret/key.md'), join(root, 'file-link.md'))
    for (const file of ['.hidden/a.md', 'node_modules/a.md', 'one/two/deep.md']) {
      await mkdir(join(root, file, '..'), { recursive: true })
      await writeFile(join(root, file), 'x')
    }
    await writeFile(join(root, '.hidden.md'), 'x')
    await writeFile(join(root, 'picture.png'), 'x')
    const walked = await walkFolder(root, { ...DEFAULT_LIMITS, maxDepth: 2 })
    expect(walked).toEqual({ files: [join(root, 'a.md'), join(root, 'team/b.md')], tooDeep: [join(root, 'one/two')] })
  })

  it('refuses a folder with more files than allowed', async () => {
    const { root } = await makeFolders()
    await expect(walkFolder(root, { ...DEFAULT_LIMITS, maxFiles: 1 })).rejects.toThrow('more than 1 readable files')
  })

  it('refuses a file, or a folder above it, that was swapped for a link after the check', async () => {
    const { base, root } = await makeFolders()
    const file = await resolveInRoots('team/b.md', [root])
    await rename(join(root, 'team'), join(root, 'team-before'))
    await writeFile(join(base, 'secret/b.md'), 'outside')
    await symlink(join(base, 'secret'), join(root, 'team'))
    await expect(readFileInRoot(file.path, root, 1000)).rejects.toThrow('replaced')
    await symlink(join(base, 'secret/key.md'), join(root, 'link.md'))
    await expect(readFileInRoot(join(root, 'link.md'), root, 1000)).rejects.toThrow(/ELOOP/)
  })

  it('does not wait for a pipe, and refuses a file over the bound', async () => {
    const { root } = await makeFolders()
    execFileSync('mkfifo', [join(root, 'pipe.md')])
    await expect(resolveInRoots('pipe.md', [root])).rejects.toThrow('There is no file')
    await expect(readFileInRoot(join(root, 'pipe.md'), root, 1000)).rejects.toThrow('replaced')
    await expect(readFileInRoot(join(root, 'a.md'), root, 3)).rejects.toThrow('It has 6 bytes; at most 3')
    expect(Buffer.from(await readFileInRoot(join(root, 'a.md'), root, 6)).toString()).toBe('inside')
  })
})
