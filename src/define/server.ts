import type { Icon } from './content.ts'
import { checkLimits, type RequestLimit } from './limits.ts'
import { checkListedFields } from './listed-fields.ts'
import { checkFields, checkName, checkOptions, invalid, quote } from './names.ts'
import type { PromptDefinition } from './prompt.ts'
import type { ResourceDefinition } from './resource.ts'
import type { ToolDefinition } from './tool.ts'
import { resolveTrigger, type TriggerDefinition } from './trigger.ts'

/** What a person writes for a server. */
export interface ServerOptions {
  name: string
  version: string
  title?: string
  description?: string
  websiteUrl?: string
  icons?: Icon[]
  /** What a model should know to use the server well; clients may add it to their prompt. */
  instructions?: string
  /** How many requests of any kind are served. The runtime's option of this name takes their place. */
  limits?: readonly RequestLimit[]
  tools?: readonly ToolDefinition[]
  resources?: readonly ResourceDefinition[]
  prompts?: readonly PromptDefinition[]
  /** What starts tasks of these tools without a caller: messages and schedules. Workers run them. */
  triggers?: readonly TriggerDefinition[]
}

/** A server: pure data and functions, no I/O. Run it with `holdfast serve` or {@link createRuntime}. */
export interface ServerDefinition extends Readonly<ServerOptions> {
  readonly kind: 'server'
  readonly tools: readonly ToolDefinition[]
  readonly resources: readonly ResourceDefinition[]
  readonly prompts: readonly PromptDefinition[]
  readonly triggers: readonly TriggerDefinition[]
}

const FIELDS = [
  'name',
  'version',
  'title',
  'description',
  'websiteUrl',
  'icons',
  'instructions',
  'limits',
  'tools',
  'resources',
  'prompts',
  'triggers',
]

/**
 * Declares a server.
 *
 * @example
 * export default defineServer({ name: 'calculator', version: '1.0.0', tools: [add] })
 * @throws {HoldfastError} `invalid_definition` for a bad name or version, two tools, resources, prompts or triggers of one name,
 * or a trigger whose tool it can't start.
 */
export function defineServer(options: ServerOptions): ServerDefinition {
  checkOptions('defineServer', options)
  checkName('defineServer', options.name)
  const where = `defineServer("${options.name}")`
  checkFields(where, options, FIELDS)
  checkListedFields(where, options)
  if (typeof options.version !== 'string' || options.version === '')
    invalid(where, `\`version\` is ${quote(options.version)}.`, 'Give a version such as "1.0.0".')
  checkLimits(where, options.limits, false)
  const { tools = [], resources = [], prompts = [], triggers = [] } = options
  unique(where, 'tools', 'defineTool', 'tool', tools, (tool) => tool.name)
  unique(
    where,
    'resources',
    'defineResource',
    'resource',
    resources,
    (resource) => resource.uri ?? resource.uriTemplate!,
  )
  unique(where, 'prompts', 'definePrompt', 'prompt', prompts, (prompt) => prompt.name)
  unique(where, 'triggers', 'defineTrigger', 'trigger', triggers, (trigger) => trigger.name)
  for (const trigger of triggers) resolveTrigger(trigger, tools)
  return Object.freeze({ ...options, kind: 'server' as const, tools, resources, prompts, triggers })
}

function unique<T extends { kind: string }>(
  where: string,
  field: string,
  builder: string,
  kind: string,
  items: readonly T[],
  key: (item: T) => string,
): void {
  if (!Array.isArray(items)) invalid(where, `\`${field}\` is not an array.`, `Give an array of ${builder}(…).`)
  const seen = new Map<string, number>()
  items.forEach((item, index) => {
    if (item?.kind !== kind)
      invalid(where, `${field}[${index}] was not made by ${builder}.`, `Wrap it in ${builder}({ … }).`)
    const first = seen.get(key(item))
    if (first !== undefined)
      invalid(
        where,
        `${field}[${first}] and ${field}[${index}] are both ${quote(key(item))}.`,
        'Rename one of them, or remove it.',
      )
    seen.set(key(item), index)
  })
}
