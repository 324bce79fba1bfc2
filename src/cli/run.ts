import { readFileSync } from 'node:fs'
import { Command, CommanderError, InvalidArgumentError } from 'commander'
import { isScope } from '../define/scopes.ts'
import { HoldfastError } from '../errors/holdfast-error.ts'
import type { ApiKeyFlags } from './api-keys.ts'
import { errorText } from './error-text.ts'
import { addTaskCommands } from './task-commands.ts'

/** Runs the command line; resolves to the exit code: 0 done, 1 failed, 2 wrongly called. */
export async function run(args: readonly string[]): Promise<number> {
  let exitCode = 0
  const program = createProgram(() => (exitCode = 1))
  try {
    await program.parseAsync(args, { from: 'user' })
    return exitCode
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
    if (error instanceof HoldfastError) {
      process.stderr.write(`error: ${errorText(error)}\n`)
      return 1
    }
    throw error
  }
}

/** @param onFailure called by a command that ran, and found something wrong. */
function createProgram(onFailure: () => void): Command {
  const program = new Command('holdfast')
    .description('Runs MCP servers that hold in production.')
    .version(version(), '-V, --version', 'Print the version.')
    .helpOption('-h, --help', 'Print this help.')
    .helpCommand(false)
    .showHelpAfterError('Run with --help to see what there is.')
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(text) })
  program
    .command('serve')
    .description('Serves a server definition over HTTP, or on standard input and output.')
    .argument('<definition>', 'module (.ts, .js, .mjs) that exports defineServer(…) by default')
    .option('-p, --port <number>', 'port to listen on; 0 takes a free one (PORT, default 3000)', toPort)
    .option('-H, --host <address>', 'address to listen on (HOST, default 127.0.0.1)')
    .option('--stdio', 'serve one client on standard input and output instead of HTTP')
    .option('--processes <number>', 'processes that share the port (default 1)', toCount)
    .option('--no-worker', 'run no tasks here: workers of their own do (holdfast worker)')
    .option(
      '--admin-port <number>',
      'port of probes and metrics, in place of the public one (HOLDFAST_ADMIN_PORT)',
      toPort,
    )
    .option('--watch', 'start again when the definition, or what it imports, changes')
    .option('--json', 'print the start-up lines as one JSON object')
    .helpOption('-h, --help', 'Print this help.')
    .addHelpText(
      'after',
      '\nEvery option of the runtime can be set in the definition module: export const options = { … }.\nVariables: HOST, PORT, LOG_LEVEL, HOLDFAST_*. See docs/operations.md.\n',
    )
    .action(async (definition: string, flags: ServeFlags) => {
      const { serve } = await import('./serve.ts')
      await serve(definition, flags)
    })
  addTaskCommands(program, onFailure)
  program
    .command('worker')
    .description('Runs the tasks of a server definition, and serves no client: as many workers as there is work for.')
    .argument('<definition>', 'module (.ts, .js, .mjs) that exports defineServer(…) by default')
    .option('--concurrency <number>', 'tasks at once (default 10)', toSlots)
    .option('--queues <list>', 'queues to serve, separated by commas (default: all of the tools)', toNames)
    .option('--admin-port <number>', 'port of probes and metrics; 0 takes a free one (HOLDFAST_ADMIN_PORT)', toPort)
    .option('--json', 'print the start-up lines as one JSON object')
    .helpOption('-h, --help', 'Print this help.')
    .addHelpText(
      'after',
      '\nNodes and workers share a task store: HOLDFAST_TASKS_URL, HOLDFAST_QUEUE_URL, HOLDFAST_STATE_URL, HOLDFAST_KEYS.\nSee docs/workers.md.\n',
    )
    .action(async (definition: string, flags: WorkerFlags) => {
      const { work } = await import('./worker.ts')
      await work(definition, flags)
    })
  program
    .command('verify-backend')
    .description(
      'Runs the contract suites against a server of yours, in a namespace of its own, which it removes; what it leaves in Redis expires within hours.',
    )
    .argument(
      '<url>',
      'of state (redis://, rediss://, redis+sentinel://, redis+cluster://), of tasks (sqlite:, postgres://, dynamodb://), of a queue (amqp://, amqps://, kafka://, kafkas://, sqs://), or of artifacts (file:, s3://)',
    )
    .option('--json', 'print one JSON object for each test, and one with the counts')
    .helpOption('-h, --help', 'Print this help.')
    .action(async (url: string, flags: { json?: boolean }) => {
      const { verifyBackend } = await import('./verify-backend.ts')
      if (!(await verifyBackend(url, flags))) onFailure()
    })
  program
    .command('keys')
    .description('Makes keys that seal session ids and what travels with clients.')
    .helpOption('-h, --help', 'Print this help.')
    .helpCommand(false)
    .command('generate')
    .description('Makes a key for HOLDFAST_KEYS, and prints it.')
    .option('--id <id>', '1 to 8 letters or digits, another for each key of a ring', toKeyId, 'k1')
    .option('--json', 'print it as a JSON object')
    .helpOption('-h, --help', 'Print this help.')
    .action(async ({ id, json }: { id: string; json?: boolean }) => {
      const { generateKeys } = await import('../compose/options.ts')
      const keys = generateKeys(id)
      process.stdout.write(json === true ? `${JSON.stringify({ keys })}\n` : `${keys}\n`)
    })
  program
    .command('api-keys')
    .description('Makes API keys.')
    .helpOption('-h, --help', 'Print this help.')
    .helpCommand(false)
    .command('create')
    .description('Makes an API key, prints it once, and keeps its hash.')
    .requiredOption('--subject <name>', 'whom the key stands for')
    .option('--tenant <name>', 'tenant of the subject')
    .option('--scopes <list>', 'scopes of the key, separated by commas', toScopes)
    .option('--days <number>', 'days until the key ends (default: never)', toDays)
    .option('--file <path>', 'file of API keys to add the hash to (HOLDFAST_API_KEYS of the server)')
    .option('--json', 'print key and entry as one JSON object')
    .helpOption('-h, --help', 'Print this help.')
    .action(async (flags: ApiKeyFlags) => {
      const { createKey } = await import('./api-keys.ts')
      createKey(flags)
    })
  return program
}

/** Flags of `holdfast serve`. */
export interface ServeFlags {
  port?: number
  host?: string
  stdio?: boolean
  processes?: number
  watch?: boolean
  worker?: boolean
  adminPort?: number
  json?: boolean
}

/** Flags of `holdfast worker`. */
export interface WorkerFlags {
  concurrency?: number
  queues?: readonly string[]
  adminPort?: number
  json?: boolean
}

function toSlots(text: string): number {
  const slots = Number(text)
  if (!/^\d{1,6}$/.test(text) || slots < 1) throw new InvalidArgumentError('Give a whole number, 1 or more.')
  return slots
}

function toNames(text: string): string[] {
  const names = text.split(',').map((name) => name.trim())
  if (names.includes('')) throw new InvalidArgumentError('Give names, separated by commas.')
  return names
}

function toPort(text: string): number {
  const port = Number(text)
  if (!/^\d+$/.test(text) || port > 65_535) throw new InvalidArgumentError('A port is a whole number from 0 to 65535.')
  return port
}

function toCount(text: string): number {
  const count = Number(text)
  if (!/^\d+$/.test(text) || count < 1 || count > 64)
    throw new InvalidArgumentError('Give a whole number from 1 to 64.')
  return count
}

function toDays(text: string): number {
  const days = Number(text)
  if (!/^\d{1,5}$/.test(text) || days < 1) throw new InvalidArgumentError('Give days as a whole number, 1 or more.')
  return days
}

function toKeyId(text: string): string {
  if (!/^[A-Za-z0-9]{1,8}$/.test(text)) throw new InvalidArgumentError('An id is 1 to 8 letters or digits.')
  return text
}

function toScopes(text: string): string[] {
  const scopes = text.split(',')
  if (!scopes.every(isScope))
    throw new InvalidArgumentError('A scope is visible ASCII without quotation marks, backslashes and commas.')
  return scopes
}

/** Version of this package. */
export function version(): string {
  const { version: text } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string
  }
  return text
}
