import { createHash } from 'node:crypto'
import { HoldfastError } from '../errors/holdfast-error.ts'
import type { Task, TaskAdmin, TaskStore } from '../ports/task-store.ts'
import { openTasks } from './open-tasks.ts'
import { Progress } from './progress.ts'
import { printable } from './table.ts'
import type { RedriveFlags } from './task-commands.ts'

const PAGE = 500
const AT_ONCE = 8

type Outcome = 'redriven' | 'before' | 'no dead letter'

/**
 * `holdfast tasks redrive`. The id of the new task follows from that of the dead letter, so a command that was broken off may be run
 * again: no dead letter is started twice.
 *
 * @returns whether each was a dead letter.
 * @throws {HoldfastError} `invalid_option` where it can't be told what to redrive.
 */
export async function redriveTasks(ids: readonly string[], flags: RedriveFlags): Promise<boolean> {
  const isAll = flags.allDead === true
  if (isAll === ids.length > 0)
    throw new HoldfastError('invalid_option', 'Name dead letters by their ids, or all of them by --all-dead.')
  if (!isAll && [flags.tool, flags.queue, flags.reason].some((one) => one !== undefined))
    throw new HoldfastError('invalid_option', '--tool, --queue and --reason say which of all: they go with --all-dead.')
  await using opened = await openTasks(flags)
  const { store } = opened
  const all = isAll ? await deadLetters(store, flags) : ids
  const progress = new Progress('redriving', all.length)
  const counts: Record<Outcome, number> = { redriven: 0, before: 0, 'no dead letter': 0 }
  let done = 0
  const lines: string[] = []
  const one = async (id: string): Promise<void> => {
    const { outcome, newId } = await redrive(store, id)
    counts[outcome]++
    progress.update(++done)
    if (flags.json === true) lines.push(JSON.stringify({ id, newId: newId ?? null, outcome }))
    else if (!isAll || outcome === 'no dead letter') lines.push(sentence(id, newId, outcome))
  }
  try {
    const left = [...all]
    const work = async (): Promise<void> => {
      for (let id = left.shift(); id !== undefined; id = left.shift()) await one(id)
    }
    await Promise.all(Array.from({ length: AT_ONCE }, work))
  } finally {
    progress.end()
    // Also of a command that fails half way: what it has done is done.
    if (lines.length > 0) process.stdout.write(`${lines.join('\n')}\n`)
  }
  if (isAll && flags.json !== true)
    process.stdout.write(
      `${counts.redriven} of ${all.length} dead letters are tried again${counts.before === 0 ? '' : `; ${counts.before} had been before`}.\n`,
    )
  return counts['no dead letter'] === 0
}

async function deadLetters(store: TaskAdmin, { tool, queue, reason }: RedriveFlags): Promise<string[]> {
  const found: Task[] = []
  let cursor: string | undefined
  do {
    const page = await store.list({
      dead: true,
      limit: PAGE,
      ...(tool === undefined ? {} : { tool }),
      ...(queue === undefined ? {} : { queue }),
      ...(cursor === undefined ? {} : { cursor }),
    })
    found.push(...page.tasks.filter(({ dead }) => reason === undefined || dead === reason))
    cursor = page.cursor
  } while (cursor !== undefined)
  // The oldest have waited longest.
  return found.toReversed().map(({ id }) => id)
}

async function redrive(
  store: TaskStore & TaskAdmin,
  id: string,
): Promise<{ outcome: Outcome; newId: string | undefined }> {
  const newId = idOfRedriven(id)
  const [before] = await store.versions([newId])
  if (before !== undefined) return { outcome: 'before', newId }
  const task = await store.redrive(id, newId)
  return { outcome: task === undefined ? 'no dead letter' : 'redriven', newId: task?.id }
}

const sentence = (id: string, newId: string | undefined, outcome: Outcome): string =>
  outcome === 'no dead letter'
    ? `${printable(id)} is no dead letter.`
    : `${id} ${outcome === 'before' ? 'was tried again before' : 'is tried again'}, as ${newId}.`

/** A UUID (version 8) that only who knows the id of the dead letter can know. */
function idOfRedriven(id: string): string {
  const hash = createHash('sha256').update(`holdfast redrive ${id}`).digest()
  hash[6] = (hash[6]! & 0x0f) | 0x80
  hash[8] = (hash[8]! & 0x3f) | 0x80
  return hash.toString('hex', 0, 16).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}
