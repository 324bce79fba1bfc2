import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { expect, test } from 'vitest'

/**
 * Which folders of `src/` a folder may import from (itself always), and which packages. What is not listed is not allowed:
 * a new folder must say where it stands.
 */
const HOUSE: Readonly<Record<string, { folders: readonly string[]; packages: readonly string[] }>> = {
  errors: { folders: [], packages: [] },
  ports: { folders: ['errors'], packages: [] },
  define: {
    folders: ['errors'],
    packages: ['@standard-schema/spec', 'ajv', 'ajv-formats', 'croner', 'lru-cache', 'node:module'],
  },
  cache: {
    folders: ['errors', 'ports', 'define', 'kernel'],
    packages: ['lru-cache', 'node:util', 'node:zlib'],
  },
  'ai-sdk': {
    folders: ['errors', 'ports', 'define', 'kernel', 'cache', 'resilience'],
    packages: ['@ai-sdk/provider', 'node:crypto', 'node:os'],
  },
  kernel: {
    folders: ['errors', 'ports', 'define', 'sessions', 'limits', 'artifacts', 'cache', 'resilience'],
    packages: ['lru-cache', 'node:async_hooks', 'node:buffer', 'node:crypto', 'node:util'],
  },
  resilience: {
    folders: ['errors', 'ports', 'define', 'kernel'],
    packages: ['cockatiel', 'node:async_hooks', 'node:stream'],
  },
  sessions: { folders: ['errors', 'ports', 'define', 'kernel'], packages: ['node:crypto', 'lru-cache'] },
  limits: { folders: ['errors', 'ports', 'define', 'kernel'], packages: ['node:crypto', 'lru-cache'] },
  telemetry: {
    folders: ['errors', 'ports'],
    packages: ['pino', 'prom-client', '@opentelemetry/api', 'node:perf_hooks', 'node:fs', 'node:stream', 'node:module'],
  },
  auth: { folders: ['errors', 'ports', 'define'], packages: ['jose', 'lru-cache', 'node:crypto', 'node:fs'] },
  transports: {
    folders: ['errors', 'ports', 'define', 'kernel', 'auth', 'limits', 'artifacts'],
    packages: ['node:http', 'node:net', 'node:stream', 'node:crypto'],
  },
  'backends/memory': {
    folders: ['errors', 'ports', 'backends/broker', 'backends/object'],
    packages: ['lru-cache', 'node:crypto'],
  },
  'backends/url': { folders: ['errors'], packages: ['node:fs'] },
  'backends/broker': { folders: ['errors', 'ports', 'backends/url'], packages: ['node:crypto'] },
  'backends/rabbitmq': { folders: ['errors', 'ports', 'backends/broker', 'backends/url'], packages: ['amqplib'] },
  'backends/kafka': {
    folders: ['errors', 'ports', 'backends/broker', 'backends/url'],
    packages: ['@platformatic/kafka'],
  },
  'backends/dynamodb': {
    folders: ['errors', 'ports', 'tasks', 'backends/broker', 'backends/url'],
    packages: ['@aws-sdk/client-dynamodb', 'node:crypto', 'node:timers'],
  },
  'backends/sqs': {
    folders: ['errors', 'ports', 'backends/broker', 'backends/url'],
    packages: ['@aws-sdk/client-sqs'],
  },
  'backends/object': { folders: [], packages: [] },
  'backends/filesystem': {
    folders: ['errors', 'ports', 'backends/object', 'backends/url'],
    packages: ['node:crypto', 'node:fs', 'node:path', 'node:util'],
  },
  'backends/s3': {
    folders: ['errors', 'ports', 'backends/broker', 'backends/object', 'backends/url'],
    packages: ['@aws-sdk/client-s3', '@aws-sdk/s3-request-presigner', 'node:stream'],
  },
  'backends/ipc': { folders: ['errors', 'ports'], packages: ['node:process', 'node:cluster', 'node:child_process'] },
  'backends/redis': {
    folders: ['errors', 'ports', 'backends/url'],
    packages: ['ioredis', 'node:crypto', 'node:events', 'node:fs'],
  },
  'backends/sql': { folders: ['errors', 'ports'], packages: ['node:crypto'] },
  'backends/postgres': {
    folders: ['errors', 'ports', 'backends/sql', 'backends/broker', 'backends/url'],
    packages: ['pg', 'node:crypto', 'node:fs'],
  },
  'backends/sqlite': {
    folders: ['errors', 'ports', 'backends/sql', 'backends/url'],
    packages: ['node:sqlite', 'node:fs', 'node:path', 'node:url', 'node:worker_threads'],
  },
  compose: {
    folders: [
      'errors',
      'ports',
      'define',
      'kernel',
      'sessions',
      'limits',
      'resilience',
      'telemetry',
      'auth',
      'transports',
      'tasks',
      'backends/memory',
      'backends/ipc',
      'backends/rabbitmq',
      'backends/kafka',
      'backends/sqs',
      'backends/redis',
      'backends/filesystem',
      'backends/s3',
      'artifacts',
      'cache',
      'backends/sqlite',
      'backends/postgres',
      'backends/dynamodb',
      'backends/broker',
      'backends/rabbitmq',
      'backends/kafka',
      'backends/sqs',
    ],
    packages: ['node:crypto', 'node:fs', 'node:os', 'node:path', 'node:stream', 'node:url', 'node:worker_threads'],
  },
  artifacts: { folders: ['errors', 'ports', 'define', 'kernel'], packages: ['node:crypto'] },
  tasks: {
    folders: ['errors', 'ports', 'define', 'kernel', 'artifacts', 'resilience'],
    packages: ['node:crypto', 'node:worker_threads', 'node:child_process', 'node:util', 'node:v8'],
  },
  testing: {
    folders: ['errors', 'ports', 'define', 'kernel', 'tasks', 'transports', 'compose', 'backends/memory'],
    packages: ['node:assert', 'node:crypto'],
  },
  cli: {
    folders: [
      'errors',
      'define',
      'auth',
      'compose',
      'telemetry',
      'backends/ipc',
      'backends/memory',
      'backends/filesystem',
      'backends/s3',
      'backends/redis',
      'backends/url',
      'backends/sqlite',
      'backends/postgres',
      'backends/dynamodb',
      'backends/broker',
      'backends/rabbitmq',
      'backends/kafka',
      'backends/sqs',
      'ports',
      'testing',
    ],
    packages: [
      'commander',
      'node:module',
      'node:fs',
      'node:path',
      'node:url',
      'node:cluster',
      'node:child_process',
      'node:os',
      'node:crypto',
    ],
  },
}

const SOURCE = new URL('../../src/', import.meta.url).pathname
const files = readdirSync(SOURCE, { recursive: true, encoding: 'utf8' }).filter(
  (file) => file.endsWith('.ts') && file !== 'index.ts',
)

function folderOf(file: string): string {
  const [first = '', second = ''] = file.split('/')
  return first === 'backends' ? `${first}/${second}` : first
}

function imports(file: string): string[] {
  const text = readFileSync(join(SOURCE, file), 'utf8')
  return [...text.matchAll(/(?<!')(?:from|import|import\(|require\()\s*'([^']+)'/g)].map((match) => match[1]!)
}

test.each(files)('%s imports only from below its place in the house', (file) => {
  const folder = folderOf(file)
  const allowed = HOUSE[folder]
  expect(allowed, `src/${folder} has no place in the house`).toBeDefined()
  for (const specifier of imports(file)) {
    if (specifier.startsWith('.')) {
      const target = folderOf(normalize(join(dirname(file), specifier)))
      if (target !== folder) expect(allowed!.folders, `${file} imports ${specifier}`).toContain(target)
    } else {
      const name =
        specifier.startsWith('node:') || !specifier.includes('/')
          ? specifier
          : specifier
              .split('/')
              .slice(0, specifier.startsWith('@') ? 2 : 1)
              .join('/')
      expect(allowed!.packages, `${file} imports ${specifier}`).toContain(name.replace(/^(node:[^/]+)\/.*/, '$1'))
    }
  }
})

test('the check would see a wrong import', () => {
  expect(imports('compose/backends.ts')).toContain('../backends/memory/event-bus.ts')
  expect(HOUSE.kernel!.folders).not.toContain('backends/memory')
})
