import { openTasks } from './open-tasks.ts'
import type { StoreFlags } from './task-commands.ts'

/**
 * `holdfast migrate`.
 * @returns whether the schema is now the one needed.
 * @throws {HoldfastError} `backend_mismatch` for a schema of newer code, or a table that differs.
 */
export async function migrate(flags: StoreFlags & { check?: boolean }): Promise<boolean> {
  const isCheck = flags.check === true
  await using opened = await openTasks(flags, { forMigration: true, makesFile: !isCheck })
  const { store, shown } = opened
  // Before, since a store reports what it has left to do.
  const { from, pending } = await store.migrate({ check: true })
  const { to } = isCheck ? { to: from } : await store.migrate()
  const isDone = !isCheck || pending.length === 0
  if (flags.json === true)
    process.stdout.write(
      `${JSON.stringify({ url: shown, from, to, ...(isCheck ? { pending } : { applied: pending }) })}\n`,
    )
  else if (pending.length === 0) process.stdout.write(`${shown} is up to date, at version ${from}.\n`)
  else if (isCheck)
    process.stdout.write(
      `${shown} is at version ${from}, and lacks:\n${lines(pending)}Run \`holdfast migrate\`, as a user who may change the schema.\n`,
    )
  else process.stdout.write(`${shown} has come from version ${from} to ${to}:\n${lines(pending)}`)
  return isDone
}

const lines = (names: readonly string[]): string => names.map((name) => `  ${name}\n`).join('')
