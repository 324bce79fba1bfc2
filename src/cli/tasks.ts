import type { FoundTask, Task, TaskFilter } from '../ports/task-store.ts'
import { openTasks } from './open-tasks.ts'
import { age, printable, table, type Columns } from './table.ts'
import type { ListFlags, StoreFlags } from './task-commands.ts'

const print = (text: string): void => void process.stdout.write(text)
const printJson = (value: unknown): void => print(`${JSON.stringify(value)}\n`)
const iso = (ms: number): string => new Date(ms).toISOString()
const count = (bytes: number): string => `${bytes.toLocaleString('en')} byte${bytes === 1 ? '' : 's'}`

/** `holdfast tasks list`. */
export async function listTasks(flags: ListFlags): Promise<void> {
  await using opened = await openTasks(flags)
  const { state, tool, queue, dead, limit, cursor } = flags
  const filter: TaskFilter = {
    limit,
    ...(state === undefined ? {} : { state }),
    ...(tool === undefined ? {} : { tool }),
    ...(queue === undefined ? {} : { queue }),
    ...(dead === undefined ? {} : { dead }),
    ...(cursor === undefined ? {} : { cursor }),
  }
  const page = await opened.store.list(filter)
  if (flags.json === true) return printJson({ tasks: page.tasks.map(toJson), cursor: page.cursor ?? null })
  if (page.tasks.length === 0) return print('There are no such tasks.\n')
  print(table(columns(Date.now()), page.tasks, process.stdout.columns))
  if (page.cursor !== undefined) print(`\nThere are more: --cursor ${page.cursor}\n`)
}

const columns = (nowMs: number): Columns<Task> => [
  ['ID', ({ id }) => id],
  ['STATE', ({ state }) => state],
  ['TOOL', ({ tool }) => tool],
  ['QUEUE', ({ queue }) => queue],
  ['AGE', ({ createdMs }) => age(nowMs - createdMs)],
  ['RETRIES', ({ attempts }) => String(attempts)],
  ['CRASHES', ({ crashes }) => String(crashes)],
  ['NOTE', noteOf],
]

function noteOf({ dead, asks, statusMessage }: Task): string {
  if (dead !== undefined) return `dead: ${dead}`
  if (asks.length > 0) return `asks ${asks.map(({ name }) => name).join(', ')}`
  return statusMessage ?? ''
}

/**
 * `holdfast tasks show`.
 * @returns whether there is such a task.
 */
export async function showTask(id: string, flags: StoreFlags): Promise<boolean> {
  await using opened = await openTasks(flags)
  const task = await opened.store.find(id)
  if (task === undefined) {
    tellMissing(id)
    return false
  }
  if (flags.json === true)
    printJson({
      ...toJson(task),
      result: parsed(task.result),
      error: parsed(task.error),
      journal: task.journal.map(toEntry),
    })
  else print(describe(task))
  return true
}

function describe(task: FoundTask): string {
  const nowMs = Date.now()
  const at = (ms: number): string => `${iso(ms)}, ${ms > nowMs ? `in ${age(ms - nowMs)}` : `${age(nowMs - ms)} ago`}`
  const { dead, doneFence, statusMessage, expiresMs, error, result, journal } = task
  const facts: (readonly [string, string])[] = [
    ['task', task.id],
    ['state', dead === undefined ? task.state : `${task.state}, a dead letter: ${dead}`],
    ['tool', task.tool],
    ['queue', task.queue],
    ['owner', task.owner],
    ['created', at(task.createdMs)],
    ['changed', at(task.updatedMs)],
    ...(expiresMs === undefined ? [] : [['expires', at(expiresMs)] as const]),
    ['retries', String(task.attempts)],
    ['crashes', String(task.crashes)],
    ['fence', doneFence === undefined ? String(task.fence) : `${task.fence}, ended by ${doneFence}`],
    ...(statusMessage === undefined ? [] : [['status', statusMessage] as const]),
    ...(error === undefined ? [] : [['error', errorText(error)] as const]),
    ...(result === undefined ? [] : [['result', `${count(result.length)} (--json shows it)`] as const]),
  ]
  const entries: Columns<ReturnType<typeof toEntry>> = [
    ['  ON RECORD', ({ name }) => `  ${name}`],
    ['KIND', ({ kind }) => kind],
    ['VALUE', ({ bytes }) => (bytes === null ? 'no answer yet' : count(bytes))],
  ]
  return [
    ...facts.map(([name, value]) => `${name.padEnd(9)}${printable(value)}\n`),
    ...(journal.length === 0 ? [] : ['\n', table(entries, journal.map(toEntry), process.stdout.columns)]),
    ...(dead === undefined ? [] : [`\nStart it again, as a new task: holdfast tasks redrive ${task.id}\n`]),
  ].join('')
}

/**
 * `holdfast tasks cancel`.
 * @returns whether each could be cancelled.
 */
export async function cancelTasks(ids: readonly string[], flags: StoreFlags): Promise<boolean> {
  await using opened = await openTasks(flags)
  const { store } = opened
  let isDone = true
  for (const id of ids) {
    const task = await store.find(id)
    const outcome = task === undefined ? undefined : await store.cancel(id, task.owner)
    isDone &&= outcome === 'cancelled' || outcome === 'signalled'
    if (flags.json === true) printJson({ id, outcome: outcome ?? 'unknown' })
    else if (outcome === undefined) tellMissing(id)
    else print(`${id} ${OUTCOMES[outcome]}\n`)
  }
  return isDone
}

const OUTCOMES = {
  cancelled: 'is cancelled.',
  signalled: 'is at a worker, which is told with its next heartbeat, and ends it.',
  ended: 'had ended before, and stays as it is.',
}

/** Says that there is no such task, on standard error. */
export const tellMissing = (id: string): void =>
  void process.stderr.write(
    `error: There is no task ${printable(id)}. Its retention may be over, or it lies in another store.\n`,
  )

const toJson = (task: Task) => ({
  id: task.id,
  state: task.state,
  tool: task.tool,
  queue: task.queue,
  owner: task.owner,
  createdAt: iso(task.createdMs),
  updatedAt: iso(task.updatedMs),
  expiresAt: task.expiresMs === undefined ? null : iso(task.expiresMs),
  retries: task.attempts,
  crashes: task.crashes,
  fence: task.fence,
  doneFence: task.doneFence ?? null,
  statusMessage: task.statusMessage ?? null,
  dead: task.dead ?? null,
  asks: task.asks.map(({ name }) => name),
})

const toEntry = ({ name, kind, value }: FoundTask['journal'][number]) => ({
  name,
  kind,
  bytes: value === undefined ? null : value.length,
})

/** What is no JSON (it may be sealed) is shown as base64. */
function parsed(bytes: Uint8Array | undefined): unknown {
  if (bytes === undefined) return null
  const buffer = Buffer.from(bytes)
  try {
    return JSON.parse(buffer.toString()) as unknown
  } catch (error) {
    if (error instanceof SyntaxError) return { base64: buffer.toString('base64') }
    throw error
  }
}

function errorText(bytes: Uint8Array): string {
  const error = parsed(bytes) as { code?: unknown; message?: unknown }
  return typeof error.message === 'string' ? `${error.message} (${String(error.code)})` : JSON.stringify(error)
}
