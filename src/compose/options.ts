import { resolveAuth, type AuthOptions, type ResolvedAuth } from '../auth/options.ts'
import { checkLimits, type RequestLimit } from '../define/limits.ts'
import { HoldfastError } from '../errors/holdfast-error.ts'
import type { OverrideLimits } from '../limits/overrides.ts'
import type { ArtifactStore } from '../ports/artifact-store.ts'
import type { EventBus } from '../ports/event-bus.ts'
import type { StateStore } from '../ports/state-store.ts'
import type { TaskQueue } from '../ports/task-queue.ts'
import type { TaskAdmin, TaskStore } from '../ports/task-store.ts'
import type { Clock } from '../ports/clock.ts'
import type { KernelOptions } from '../kernel/services.ts'
import type { HttpOptions } from '../transports/http/http-options.ts'
import type { ServerOptions as ListenBounds } from '../transports/http/server.ts'
import { checkStateUrl, MEMORY_URL, schemeOf } from './backends.ts'
import { checkArtifactsUrl } from './artifacts.ts'
import { nearest } from './nearest.ts'
import { checkQueueUrl, STORE_QUEUE } from './task-queue.ts'
import { checkTasksUrl, isTasksUrl } from './task-store.ts'
import { checkWorkerOptions, type WorkerOptions } from './worker-options.ts'
import { isRedisUrl } from '../backends/redis/url.ts'

export { generateKeys } from '../kernel/key-ring.ts'

/**
 * Settings of a runtime. Each has a default that works on one machine with nothing installed. What the environment says
 * (`HOLDFAST_…`, see {@link resolveOptions}) goes before what stands here.
 */
export interface RuntimeOptions
  extends Partial<KernelOptions>, Partial<HttpOptions>, Partial<Omit<ListenBounds, 'host' | 'port'>> {
  /** Address to listen on. Default `127.0.0.1` (`HOST`). */
  host?: string
  /** Port to listen on; 0 takes a free one. Default 3000 (`PORT`). */
  port?: number
  /** Port of probes and metrics, in place of the public one; workers serve them there too (`HOLDFAST_ADMIN_PORT`). Default: nodes serve them beside the endpoint, workers nowhere. */
  adminPort?: number
  /** Key ring that seals session ids, `id:base64,…` (`HOLDFAST_KEYS`). Default: made once in the data folder; in memory alone without one. */
  keys?: string
  /** Folder for what the embedded default keeps. Default `.holdfast` (`HOLDFAST_DATA_DIR`); `false`: nothing is written. */
  dataDir?: string | false
  /** `trace`, `debug`, `info`, `warn`, `error`, `fatal`, `silent`. Default `info` (`LOG_LEVEL`). */
  logLevel?: string
  /** File descriptor of the log: 1 is stdout, 2 is stderr. Default 1. */
  logFd?: number
  /** Entries of one page of a list. Default 1000: many clients read the first page alone. */
  listPageSize?: number
  /** Time for running calls to end when the runtime closes, before their `ctx.signal` aborts. Default 10,000 (`HOLDFAST_DRAIN_DEADLINE_MS`). */
  drainDeadlineMs?: number
  /** Time between readiness failing and connections being refused, for balancers to notice. Default 0 (`HOLDFAST_DRAIN_DELAY_MS`). */
  drainDelayMs?: number
  /** Let in callers without a credential: with `auth`, beside those who have one; without, on addresses beyond this machine. Default false (`HOLDFAST_ALLOW_ANONYMOUS`). */
  allowAnonymous?: boolean
  /** Who may call, and how that is found out. Default: everybody is anonymous. */
  auth?: AuthOptions
  /** URL of the endpoint as clients write it, path included: what tokens are made for (`HOLDFAST_PUBLIC_URL`). */
  publicUrl?: string
  /** Credential of the caller on standard input and output: a token or an API key, checked by `auth` (`HOLDFAST_STDIO_CREDENTIAL`). Default: the caller is the user that runs the process, and may use everything. */
  stdioCredential?: string
  /** Proxies whose `X-Forwarded-For` is believed: addresses, ranges (`10.0.0.0/8`), `loopback`. Default: none (`HOLDFAST_TRUSTED_PROXIES`). */
  trustedProxies?: readonly string[]
  /**
   * Where nodes keep what they share, and how they tell each other of changes: `memory:` (default), a URL of Redis
   * (`HOLDFAST_STATE_URL`, else `REDIS_URL`), or a store of your own, which no variable replaces.
   */
  state?: string | StateStore
  /**
   * Where big results lie: `file:path/to/folder`, `s3://bucket/prefix?region=…`, `memory:`, or a store of your own, which no
   * variable replaces (`HOLDFAST_ARTIFACTS_URL`). Default: the folder `artifacts` in the data folder; in memory without one; none
   * where nodes share `state` or `tasks`.
   */
  artifacts?: string | ArtifactStore
  /** Bytes of one artifact. Default 5 GiB. */
  maxArtifactBytes?: number
  /** How long an artifact of a call is kept; those of a task are kept as long as the task. Default a day. */
  artifactTtlMs?: number
  /** Bytes of cached values in the memory of a process. Default 64 MiB. */
  maxCacheBytes?: number
  /** How nodes tell each other of changes. Default: by what `state` names; within this process for a store of your own. */
  bus?: EventBus
  /**
   * Where durable tasks lie: a URL of SQLite (default: `sqlite:tasks.db` in the data folder), Postgres or DynamoDB
   * (`HOLDFAST_TASKS_URL`, else `DATABASE_URL`), or a store of your own, which no variable replaces. Opened where a tool runs as a
   * task.
   */
  tasks?: string | (TaskStore & TaskAdmin)
  /** How workers hear of tasks: `store:` (default), a URL of RabbitMQ, Kafka or SQS (`HOLDFAST_QUEUE_URL`), or a queue of your own. */
  queue?: string | TaskQueue
  /** Tasks that may wait in a queue; more are refused with `overloaded`. Default 100,000. */
  maxTaskBacklog?: number
  /** Whether this process runs tasks, and how. Default true. */
  worker?: boolean | WorkerOptions
  /** How many requests of any kind are served. Default: what the server's definition says. */
  limits?: readonly RequestLimit[]
  /** Limits of one principal, in place of those of the server and its tools. */
  overrideLimits?: OverrideLimits
  /** Time. Default: the machine's clock; tests move their own. */
  clock?: Clock
}

/** Options with every default filled in. */
export type ResolvedOptions = KernelOptions &
  HttpOptions &
  ListenBounds &
  Required<
    Pick<
      RuntimeOptions,
      | 'logLevel'
      | 'logFd'
      | 'listPageSize'
      | 'drainDeadlineMs'
      | 'drainDelayMs'
      | 'allowAnonymous'
      | 'trustedProxies'
      | 'dataDir'
      | 'state'
      | 'maxCacheBytes'
      | 'maxArtifactBytes'
      | 'artifactTtlMs'
      | 'tasks'
      | 'queue'
      | 'maxTaskBacklog'
      | 'worker'
    >
  > &
  Pick<
    RuntimeOptions,
    'artifacts' | 'keys' | 'bus' | 'limits' | 'overrideLimits' | 'clock' | 'publicUrl' | 'stdioCredential' | 'adminPort'
  > & {
    auth?: ResolvedAuth
  }

const MEBIBYTE = 1024 * 1024

const DEFAULTS: ResolvedOptions = {
  host: '127.0.0.1',
  port: 3000,
  path: '/mcp',
  allowedHosts: ['localhost', '127.0.0.1', '[::1]'],
  allowedOrigins: ['loopback'],
  allowAnonymous: false,
  trustedProxies: [],
  dataDir: '.holdfast',
  state: MEMORY_URL,
  tasks: '',
  queue: STORE_QUEUE,
  maxTaskBacklog: 100_000,
  worker: true,
  logLevel: 'info',
  logFd: 1,
  listPageSize: 1000,
  drainDeadlineMs: 10_000,
  drainDelayMs: 0,
  maxBodyBytes: 4 * MEBIBYTE,
  maxJsonDepth: 64,
  maxJsonElements: 100_000,
  maxStringBytes: 4 * MEBIBYTE,
  maxBatch: 100,
  maxHeaderBytes: 16 * 1024,
  headersTimeoutMs: 15_000,
  bodyTimeoutMs: 30_000,
  keepAliveTimeoutMs: 65_000,
  maxConnections: 20_000,
  maxConcurrentRequests: 1000,
  maxQueueMs: 1000,
  maxLoopDelayMs: 250,
  maxPendingBodyBytes: 128 * MEBIBYTE,
  maxStreamsPerPrincipal: 1000,
  maxSubscriptions: 1000,
  maxBufferedBytes: MEBIBYTE,
  quietMs: 5000,
  keepAliveMs: 15_000,
  sessionTtlMs: 7 * 24 * 3_600_000,
  resumeTtlMs: 5 * 60_000,
  idempotencyTtlMs: 24 * 3_600_000,
  questionTtlMs: 15 * 60_000,
  maxCacheBytes: 64 * MEBIBYTE,
  maxArtifactBytes: 5 * 1024 * MEBIBYTE,
  maxArtifactReadBytes: 4 * MEBIBYTE,
  artifactTtlMs: 24 * 3_600_000,
  lenientHeaders: false,
  sessions: 'required',
}

const OPTIONAL = [
  'artifacts',
  'adminPort',
  'keys',
  'bus',
  'limits',
  'overrideLimits',
  'clock',
  'auth',
  'publicUrl',
  'stdioCredential',
]
const LOG_LEVEL_NAMES = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']

/** How each variable is read, and which option it sets. */
const VARIABLES: Readonly<
  Record<string, { option: keyof ResolvedOptions | `auth.${keyof AuthOptions}`; read: (text: string) => unknown }>
> = {
  HOST: { option: 'host', read: (text) => text },
  PORT: { option: 'port', read: Number },
  HOLDFAST_ADMIN_PORT: { option: 'adminPort', read: Number },
  LOG_LEVEL: { option: 'logLevel', read: (text) => text.toLowerCase() },
  HOLDFAST_DATA_DIR: { option: 'dataDir', read: (text) => text },
  HOLDFAST_STATE_URL: { option: 'state', read: (text) => text },
  HOLDFAST_ARTIFACTS_URL: { option: 'artifacts', read: (text) => text },
  HOLDFAST_TASKS_URL: { option: 'tasks', read: (text) => text },
  HOLDFAST_QUEUE_URL: { option: 'queue', read: (text) => text },
  HOLDFAST_KEYS: { option: 'keys', read: (text) => text },
  HOLDFAST_ALLOWED_HOSTS: { option: 'allowedHosts', read: list },
  HOLDFAST_ALLOWED_ORIGINS: { option: 'allowedOrigins', read: list },
  HOLDFAST_ALLOW_ANONYMOUS: { option: 'allowAnonymous', read: flag },
  HOLDFAST_PUBLIC_URL: { option: 'publicUrl', read: (text) => text },
  HOLDFAST_TRUSTED_PROXIES: { option: 'trustedProxies', read: list },
  HOLDFAST_STDIO_CREDENTIAL: { option: 'stdioCredential', read: (text) => text },
  HOLDFAST_AUTH_ISSUER: { option: 'auth.issuer', read: (text) => text },
  HOLDFAST_AUTH_AUDIENCE: { option: 'auth.audience', read: list },
  HOLDFAST_API_KEYS: { option: 'auth.apiKeys', read: (text) => text },
  HOLDFAST_LENIENT_HEADERS: { option: 'lenientHeaders', read: flag },
  HOLDFAST_DRAIN_DELAY_MS: { option: 'drainDelayMs', read: Number },
  HOLDFAST_DRAIN_DEADLINE_MS: { option: 'drainDeadlineMs', read: Number },
}

function list(text: string): string[] {
  return text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')
}
function flag(text: string): unknown {
  return text === '1' || text === 'true' ? true : text === '0' || text === 'false' ? false : text
}

/** What Kubernetes puts into every pod for a Service named `holdfast`. */
const KUBERNETES = /^HOLDFAST_(PORT|SERVICE_)/

/**
 * Fills in the defaults. Order: `flags`, environment, `code`, default.
 * @throws {HoldfastError} `unknown_option` for an option or `HOLDFAST_` variable that does not exist, `invalid_option` for a bad value.
 */
export function resolveOptions(
  code: RuntimeOptions,
  env: Readonly<Record<string, string | undefined>>,
  flags: RuntimeOptions = {},
): ResolvedOptions {
  const known = [...Object.keys(DEFAULTS), ...OPTIONAL]
  for (const name of [...Object.keys(code), ...Object.keys(flags)])
    if (!known.includes(name))
      throw new HoldfastError(
        'unknown_option',
        `There is no option \`${name}\`${nearest(name, known, ' Did you mean', '`')}`,
      )
  const resolved: Record<string, unknown> = { ...DEFAULTS, ...defined(code) }
  // What was given as an instance is what no variable can name.
  const own = Object.fromEntries(
    ['state', 'tasks', 'queue', 'artifacts'].flatMap((name) =>
      typeof resolved[name] === 'object' ? [[name, resolved[name]]] : [],
    ),
  )
  Object.assign(resolved, genericUrls(env))
  for (const [name, text] of Object.entries(env)) {
    if (text === undefined || text === '') continue
    const variable = Object.hasOwn(VARIABLES, name) ? VARIABLES[name] : undefined
    if (variable !== undefined) {
      const [option, field] = variable.option.split('.') as [keyof ResolvedOptions, string?]
      const value = variable.read(text)
      resolved[option] = field === undefined ? value : { ...(resolved[option] as object), [field]: value }
      check(option, resolved[option], name)
    } else if (name.startsWith('HOLDFAST_') && !KUBERNETES.test(name))
      throw new HoldfastError(
        'unknown_option',
        `There is no variable ${name}${nearest(name, Object.keys(VARIABLES), ' Did you mean', '')}`,
      )
  }
  Object.assign(resolved, own)
  Object.assign(resolved, defined(flags))
  for (const [name, value] of Object.entries(resolved)) check(name as keyof ResolvedOptions, value, `\`${name}\``)
  if (resolved.publicUrl !== undefined) {
    const url = new URL(resolved.publicUrl as string)
    // As RFC 8707 compares it: host in lower case, no default port; and no slash after a bare origin.
    resolved.publicUrl = url.pathname === '/' ? url.origin : url.href
    // Clients name its host, behind whatever proxy.
    resolved.allowedHosts = [...(resolved.allowedHosts as string[]), url.hostname]
  }
  if (resolved.auth !== undefined)
    resolved.auth = resolveAuth(resolved.auth as AuthOptions, resolved.publicUrl as string | undefined)
  return resolved as unknown as ResolvedOptions
}

/** Variables that other programs read too: one of another kind of store is not meant for us. */
const GENERIC = [
  {
    name: 'REDIS_URL',
    option: 'state',
    isOurs: isRedisUrl,
    why: 'is none of Redis. HOLDFAST_STATE_URL says where state is kept.',
  },
  {
    name: 'DATABASE_URL',
    option: 'tasks',
    isOurs: isTasksUrl,
    why: 'is none of a task store. HOLDFAST_TASKS_URL says where tasks lie.',
  },
] as const

/** What they say, unless a variable of our own says it. */
function genericUrls(env: Readonly<Record<string, string | undefined>>): Partial<Record<'state' | 'tasks', string>> {
  const urls: Partial<Record<'state' | 'tasks', string>> = {}
  for (const { name, option, isOurs, why } of GENERIC) {
    const url = env[name]
    if (url === undefined || url === '') continue
    if (isOurs(url)) urls[option] = url
    else
      process.emitWarning(`${name} is ignored: its scheme ${JSON.stringify(schemeOf(url))} ${why}`, 'HoldfastWarning')
  }
  return urls
}

const defined = (options: object): object =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))

function check(option: keyof ResolvedOptions, value: unknown, name: string): void {
  const refuse = (expected: string): never => {
    throw new HoldfastError('invalid_option', `${name} is ${JSON.stringify(value)}; it must be ${expected}.`)
  }
  const fallback = DEFAULTS[option]
  if (option === 'port' || option === 'adminPort') {
    if (option === 'adminPort' && value === undefined) return
    if (!Number.isInteger(value) || (value as number) < 0 || (value as number) > 65_535)
      refuse('a port: a whole number from 0 to 65535')
  } else if (option === 'logLevel') {
    if (!LOG_LEVEL_NAMES.includes(value as string)) refuse(`one of ${LOG_LEVEL_NAMES.join(', ')}`)
  } else if (option === 'sessions') {
    if (value !== 'required' && value !== 'optional') refuse('"required" or "optional"')
  } else if (option === 'limits') {
    checkLimits('options', value, false)
  } else if (option === 'overrideLimits') {
    if (value !== undefined && typeof value !== 'function') refuse('a function')
  } else if (option === 'dataDir') {
    if (value !== false && (typeof value !== 'string' || value === '')) refuse('a folder, or false')
  } else if (option === 'state') {
    if (typeof value === 'string') checkStateUrl(value, name)
    else if (typeof value !== 'object' || value === null) refuse('a URL, or a StateStore')
  } else if (option === 'artifacts') {
    if (typeof value === 'string') checkArtifactsUrl(value, name)
    else if (value !== undefined && (typeof value !== 'object' || value === null)) refuse('a URL, or an ArtifactStore')
  } else if (option === 'tasks' || option === 'queue') {
    if (typeof value !== 'string' && (typeof value !== 'object' || value === null)) refuse('a URL, or an instance')
    if (typeof value === 'string' && option === 'queue') checkQueueUrl(value, name)
    if (typeof value === 'string' && option === 'tasks' && value !== '') checkTasksUrl(value, name)
  } else if (option === 'worker') {
    if (typeof value !== 'boolean' && (typeof value !== 'object' || value === null)) refuse('true, false, or options')
    if (typeof value === 'object') checkWorkerOptions(value!)
  } else if (option === 'publicUrl') {
    if (value !== undefined && !isEndpointUrl(value)) refuse('an http or https URL without query and fragment')
  } else if (option === 'stdioCredential') {
    // Not with its value: it is a secret.
    if (value !== undefined && (typeof value !== 'string' || !/^[\x21-\x7e]+$/.test(value)))
      throw new HoldfastError('invalid_option', `${name} is no credential; it must be a token or an API key.`)
  } else if (option === 'auth') {
    if (value !== undefined && (typeof value !== 'object' || value === null)) refuse('an object')
  } else if (option === 'path') {
    if (typeof value !== 'string' || !/^\/[\w./-]*$/.test(value)) refuse('a path such as "/mcp"')
  } else if (option === 'drainDelayMs') {
    if (!Number.isSafeInteger(value) || (value as number) < 0) refuse('a whole number of milliseconds, 0 or more')
  } else if (typeof fallback === 'number') {
    if (!Number.isSafeInteger(value) || (value as number) < 1) refuse('a whole number, 1 or more')
  } else if (typeof fallback === 'boolean') {
    if (typeof value !== 'boolean') refuse('true or false')
  } else if (Array.isArray(fallback)) {
    if (!Array.isArray(value) || !value.every((item) => typeof item === 'string')) refuse('a list of texts')
  } else if (typeof fallback === 'string' && typeof value !== 'string') refuse('a text')
}

function isEndpointUrl(value: unknown): boolean {
  const url = typeof value === 'string' ? URL.parse(value) : null
  return url !== null && /^https?:$/.test(url.protocol) && `${url.search}${url.hash}${url.username}` === ''
}

/** Whether an address reaches this machine alone. */
export const isLoopback = (host: string): boolean =>
  host === 'localhost' || host === '::1' || host === '[::1]' || /^127(\.\d{1,3}){3}$/.test(host)
