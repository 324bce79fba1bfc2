import { basename, delimiter, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { DeskError } from './desk-error.ts'

/** What one `ingest` may take in. */
export interface IngestLimits {
  /** A file larger than this is reported and left out. */
  maxFileBytes: number
  /** A folder with more readable files than this is refused. */
  maxFiles: number
  /** Folders deeper than this below the ingested one are left out. */
  maxDepth: number
  /** A document that takes longer than this to read is reported and left out. */
  readTimeoutMs: number
}

/** An endpoint that speaks the OpenAI HTTP interface. */
export interface EndpointSettings {
  /** With the version in its path, such as `http://127.0.0.1:11434/v1`. */
  baseUrl: string
  apiKey?: string
  /** Answers questions; without it `ask` returns passages. */
  chatModel?: string
  /** Makes the vectors; without it the built-in model does. */
  embeddingModel?: string
  /** Until an answer begins, retries included, and then between any two parts of it; of a batch of vectors, until it is there. */
  timeoutMs: number
}

/** Everything that can be set about Docs desk. */
export interface Settings {
  /** The SQLite file; `:memory:` keeps everything in the process. */
  databaseFile: string
  /** The Postgres database that takes the file's place. */
  databaseUrl?: string
  /** Folders that `ingest` may read. */
  roots: string[]
  limits: IngestLimits
  endpoint?: EndpointSettings
  /** Tokens of the endpoint's models that one caller may use in an hour. */
  tokensPerHour?: number
}

/** The limits that hold where a setting does not say otherwise. */
export const DEFAULT_LIMITS: IngestLimits = {
  maxFileBytes: 5 * 1024 * 1024,
  maxFiles: 5_000,
  maxDepth: 16,
  readTimeoutMs: 60_000,
}

const DEFAULT_ENDPOINT_TIMEOUT_MS = 10_000
const SAMPLE_FOLDER = fileURLToPath(new URL('./sample', import.meta.url))
const VARIABLES = [
  'DOCS_DESK_ROOTS',
  'DOCS_DESK_CHAT_MODEL',
  'DOCS_DESK_EMBEDDING_MODEL',
  'DOCS_DESK_TIMEOUT_MS',
  'DOCS_DESK_TOKENS_PER_HOUR',
]

/**
 * Reads the settings from the environment; the README lists the variables.
 *
 * @throws {DeskError} `invalid_settings` for an unknown `DOCS_DESK_…` variable or a value that cannot be meant.
 */
export function readSettings(environment: Readonly<Record<string, string | undefined>>): Settings {
  for (const name of Object.keys(environment))
    if (name.startsWith('DOCS_DESK_') && !VARIABLES.includes(name))
      throw new DeskError('invalid_settings', `${name} is no setting of Docs desk. There are ${VARIABLES.join(', ')}.`)
  const endpoint = readEndpoint(environment)
  const databaseUrl = readDatabaseUrl(environment['DATABASE_URL'])
  const tokensPerHour = readNumber(environment, 'DOCS_DESK_TOKENS_PER_HOUR', 'tokens')
  return {
    databaseFile: join(environment['HOLDFAST_DATA_DIR'] || '.holdfast', 'docs-desk.db'),
    roots: readRoots(environment['DOCS_DESK_ROOTS']),
    limits: DEFAULT_LIMITS,
    ...(databaseUrl && { databaseUrl }),
    ...(endpoint && { endpoint }),
    ...(tokensPerHour && { tokensPerHour }),
  }
}

function readNumber(
  environment: Readonly<Record<string, string | undefined>>,
  name: string,
  unit: string,
): number | undefined {
  const value = environment[name]
  if (!value) return undefined
  const number = Number(value)
  if (!Number.isSafeInteger(number) || number < 1)
    throw new DeskError('invalid_settings', `${name} is "${value}". Use whole ${unit} above 0.`)
  return number
}

/** `DATABASE_URL` is shared with the tasks of Holdfast, which may be kept where Docs desk keeps no index. */
function readDatabaseUrl(value: string | undefined): string | undefined {
  if (!value || /^(sqlite|dynamodb):/.test(value)) return undefined
  if (/^postgres(ql)?:\/\//.test(value)) return value
  const scheme = value.split(':', 1)[0]!
  throw new DeskError(
    'invalid_settings',
    `DATABASE_URL begins with "${scheme}:". Use a postgres:// URL, or leave it out to keep the index in a file.`,
  )
}

function readRoots(value: string | undefined): string[] {
  const roots =
    value === undefined
      ? [SAMPLE_FOLDER]
      : value
          .split(delimiter)
          .filter(Boolean)
          .map((root) => resolve(root))
  // Sources are named after their root ("handbook/leave.md"), so that no answer shows a path of the machine.
  const names = roots.map((root) => basename(root))
  const twice = names.find((name, index) => names.indexOf(name) !== index)
  if (twice !== undefined)
    throw new DeskError('invalid_settings', `DOCS_DESK_ROOTS has two folders named "${twice}". Rename one of them.`)
  if (names.includes(''))
    throw new DeskError('invalid_settings', 'DOCS_DESK_ROOTS holds the root of a file system. Name the folder itself.')
  return roots
}

function readEndpoint(environment: Readonly<Record<string, string | undefined>>): EndpointSettings | undefined {
  const baseUrl = environment['OPENAI_BASE_URL']
  const apiKey = environment['OPENAI_API_KEY']
  const chatModel = environment['DOCS_DESK_CHAT_MODEL']
  const embeddingModel = environment['DOCS_DESK_EMBEDDING_MODEL']
  if (!chatModel && !embeddingModel) return undefined
  if (!baseUrl && !apiKey)
    throw new DeskError(
      'invalid_settings',
      'A model is named, but neither OPENAI_BASE_URL nor OPENAI_API_KEY says where it runs. Set one of them.',
    )
  if (baseUrl && !/^https?:$/.test(URL.parse(baseUrl)?.protocol ?? ''))
    throw new DeskError('invalid_settings', `OPENAI_BASE_URL is "${baseUrl}". Use an http or https URL.`)
  const timeoutMs = readNumber(environment, 'DOCS_DESK_TIMEOUT_MS', 'milliseconds') ?? DEFAULT_ENDPOINT_TIMEOUT_MS
  return {
    baseUrl: baseUrl || 'https://api.openai.com/v1',
    timeoutMs,
    ...(apiKey && { apiKey }),
    ...(chatModel && { chatModel }),
    ...(embeddingModel && { embeddingModel }),
  }
}
