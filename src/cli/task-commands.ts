import { InvalidArgumentError, Option, type Command } from 'commander'

/** Which store a command is about. */
export interface StoreFlags {
  tasks?: string
  definition?: string
  json?: boolean
}
/** Flags of `holdfast tasks list`. */
export interface ListFlags extends StoreFlags {
  state?: (typeof STATES)[number]
  tool?: string
  queue?: string
  dead?: boolean
  limit: number
  cursor?: string
}
/** Flags of `holdfast tasks redrive`. */
export interface RedriveFlags extends StoreFlags {
  allDead?: boolean
  tool?: string
  queue?: string
  reason?: (typeof REASONS)[number]
}

const STATES = ['ready', 'leased', 'parked', 'completed', 'failed', 'cancelled'] as const
const REASONS = ['attempts', 'crashes', 'expired', 'lost', 'error'] as const
const WHERE = `
Which store: --tasks, else HOLDFAST_TASKS_URL, else DATABASE_URL, else what the
options of --definition say, else tasks.db in the data folder
(HOLDFAST_DATA_DIR). See docs/operating-task-stores.md.
`

/**
 * `holdfast migrate` and `holdfast tasks …`.
 * @param onFailure called by a command that ran, and found something wrong.
 */
export function addTaskCommands(program: Command, onFailure: () => void): void {
  const ofStore = (command: Command): Command =>
    command
      .option('--tasks <url>', 'sqlite:, postgres:// or dynamodb:// (HOLDFAST_TASKS_URL)')
      .option('--definition <module>', 'definition module whose options say where tasks lie')
      .option('--json', 'print JSON')
      .helpOption('-h, --help', 'Print this help.')
      .addHelpText('after', WHERE)
  ofStore(
    program
      .command('migrate')
      .description('Brings the schema of the task store to this version. Safe to run from several processes at once.')
      .option('--check', 'change nothing; end with 1 where something is missing'),
  ).action(async (flags: StoreFlags & { check?: boolean }) => {
    const { migrate } = await import('./migrate.ts')
    if (!(await migrate(flags))) onFailure()
  })

  const tasks = program
    .command('tasks')
    .description('Shows tasks, cancels them, and starts dead letters again.')
    .helpOption('-h, --help', 'Print this help.')
    .helpCommand(false)
  ofStore(
    tasks
      .command('list')
      .description('Lists tasks, the newest first.')
      .addOption(new Option('--state <state>', 'of this state').choices(STATES))
      .option('--tool <name>', 'of this tool')
      .option('--queue <name>', 'of this queue')
      .option('--dead', 'dead letters alone')
      .option('--limit <number>', 'so many at most, 1 to 1000', toLimit, 20)
      .option('--cursor <cursor>', 'go on where the last list ended'),
  ).action(async (flags: ListFlags) => {
    const { listTasks } = await import('./tasks.ts')
    await listTasks(flags)
  })
  ofStore(
    tasks
      .command('show')
      .description('Shows a task: how it fares, what is on record of it, how it ended.')
      .argument('<id>', 'id of the task'),
  ).action(async (id: string, flags: StoreFlags) => {
    const { showTask } = await import('./tasks.ts')
    if (!(await showTask(id, flags))) onFailure()
  })
  ofStore(
    tasks
      .command('cancel')
      .description(
        'Cancels tasks. One that nobody is at ends at once; else its worker is told with its next heartbeat.',
      )
      .argument('<ids...>', 'ids of tasks'),
  ).action(async (ids: string[], flags: StoreFlags) => {
    const { cancelTasks } = await import('./tasks.ts')
    if (!(await cancelTasks(ids, flags))) onFailure()
  })
  ofStore(
    tasks
      .command('redrive')
      .description(
        'Starts dead letters again, each once, as tasks with ids of their own; what has ended stays as it is.',
      )
      .argument('[ids...]', 'ids of dead letters')
      .option('--all-dead', 'every dead letter, or those that the following say')
      .option('--tool <name>', 'of this tool')
      .option('--queue <name>', 'of this queue')
      .addOption(new Option('--reason <reason>', 'that died of this').choices(REASONS)),
  ).action(async (ids: string[], flags: RedriveFlags) => {
    const { redriveTasks } = await import('./redrive.ts')
    if (!(await redriveTasks(ids, flags))) onFailure()
  })
}

function toLimit(text: string): number {
  const limit = Number(text)
  if (!/^\d+$/.test(text) || limit < 1 || limit > 1000)
    throw new InvalidArgumentError('Give a whole number from 1 to 1000.')
  return limit
}
