import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { promisify } from 'node:util'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { openSqlite } from '../../src/backends/sqlite/task-store.ts'
import { newTask } from '../support/new-task.ts'

const run = promisify(execFile)
let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'holdfast-sqlite-'))
})
afterEach(() => rmSync(dir, { recursive: true }))

test('a file that another process keeps locked refuses writes in their time, with the reason, and is read from all the same', async () => {
  const file = join(dir, 'tasks.db')
  const store = await openSqlite(`sqlite:${file}?busyTimeoutMs=200`)
  const before = newTask()
  await store.create(before)
  const other = new DatabaseSync(file)
  other.exec('begin immediate')
  const sinceMs = performance.now()
  // What comes together goes together: the reads are not refused with the writes.
  const [written, read, counted] = await Promise.allSettled([
    store.create(newTask()),
    store.get(before.id, 'ann'),
    store.isOver('q', 10),
  ])
  expect(performance.now() - sinceMs).toBeLessThan(2000)
  expect(written).toMatchObject({
    status: 'rejected',
    reason: {
      code: 'backend_failed',
      message:
        'SQLite did not carry out create. Another process has kept the file locked for longer than busyTimeoutMs.',
    },
  })
  expect(read).toMatchObject({ status: 'fulfilled', value: { id: before.id } })
  expect(counted).toMatchObject({ status: 'fulfilled', value: false })
  other.exec('rollback')
  other.close()
  expect(await store.create(newTask())).toMatchObject({ created: true })
  await store.close()
})

test.runIf(process.getuid?.() === 0 && process.platform === 'linux')(
  'a disk that is full refuses writes with the reason, keeps what was there, and is written to again when there is room',
  async () => {
    const disk = join(dir, 'disk')
    mkdirSync(disk)
    await run('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', disk])
    try {
      const store = await openSqlite(`sqlite:${disk}/tasks.db`)
      const before = newTask()
      await store.create(before)
      writeFileSync(join(disk, 'ballast'), Buffer.alloc(1024 * 1024))
      const big = Buffer.alloc(100_000, 'x')
      const made: string[] = []
      const fill = async (): Promise<never> => {
        for (;;) {
          const task = newTask({ args: big })
          await store.create(task)
          made.push(task.id)
        }
      }
      await expect(fill()).rejects.toMatchObject({
        code: 'backend_failed',
        message: 'SQLite did not carry out create. Its disk is full.',
      })
      for (const id of [before.id, ...made]) expect(await store.get(id, 'ann')).toMatchObject({ state: 'ready' })
      rmSync(join(disk, 'ballast'))
      expect(await store.create(newTask({ args: big }))).toMatchObject({ created: true })
      await store.close()
    } finally {
      await run('umount', [disk])
    }
  },
)
