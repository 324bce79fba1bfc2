import { randomBytes } from 'node:crypto'
import { ARTIFACT_URI_PREFIX } from '../define/content.ts'
import type { KeyRing } from '../kernel/key-ring.ts'

/** Whose an artifact is, and which run of which work wrote it. */
export type ArtifactPlace =
  | {
      /** Hash of issuer, subject and tenant. */
      readonly owner: string
      readonly requestId: string
    }
  | {
      readonly owner: string
      /** See {@link sealTask}. */
      readonly sealedTask: string
      /** Of the claim under which it was written: no two runs of a task share a key. */
      readonly fence: number
    }

/** Which run of which task wrote a value of its records. */
export interface ValuePlace {
  readonly owner: string
  readonly taskId: string
  readonly fence: number
}

/** What a key says of its object. `value`: of a task's records, read by the runtime alone. */
export interface KeyFacts {
  readonly kind: 'call' | 'task' | 'value'
  readonly owner: string
  /** The task; `undefined` for what a call wrote. */
  readonly taskId: string | undefined
  /** Of the attempt that wrote it. */
  readonly fence: number | undefined
}

// An id can't be guessed: of anonymous callers, who share one owner, it is a bearer secret.
const newId = (): string => randomBytes(16).toString('base64url')

const PURPOSE = 'artifact of a task'

/**
 * A task's id as it stands in keys of its artifacts, `<key of the ring>/<seal>`. The id itself, of anonymous callers a bearer
 * secret, must not be read from a link that is passed on, to the artifact or (signed URLs of a bucket) to the object itself.
 */
export function sealTask(keys: KeyRing, taskId: string): string {
  return keys.seal(Buffer.from(taskId.replaceAll('-', ''), 'hex'), PURPOSE).replace('.', '/')
}
function openTask(keys: KeyRing, sealed: string): string | undefined {
  const id = keys.open(sealed.replace('/', '.'), PURPOSE)?.toString('hex')
  return id?.replace(/(.{8})(.{4})(.{4})(.{4})(.{12})/, '$1-$2-$3-$4-$5')
}

/**
 * The key of a new artifact: `task/<owner>/<sealed task>/<fence>/<id>`, or `call/<owner>/<request>/<id>`. A caller finds only what
 * lies under its own owner, since that part comes from who it is, and never from what it sends.
 */
export const newArtifactKey = (place: ArtifactPlace): string =>
  'sealedTask' in place
    ? `task/${place.owner}/${place.sealedTask}/${place.fence}/${newId()}`
    : `call/${place.owner}/${place.requestId}/${newId()}`

/** The key of a value of a task's records that is too big for them: `value/<owner>/<task>/<fence>/<id>`. No URI leads to it. */
export const newValueKey = ({ owner, taskId, fence }: ValuePlace): string =>
  `value/${owner}/${taskId}/${fence}/${newId()}`

/** The URI of an artifact: its key without the owner. */
export function uriOfKey(key: string): string {
  const [kind, , ...rest] = key.split('/')
  return `${ARTIFACT_URI_PREFIX}${kind}/${rest.join('/')}`
}

const URI = new RegExp(
  `^${ARTIFACT_URI_PREFIX}(?:(call)/([\\w-]{1,64}/[\\w-]{22})|(task)/(\\w{1,8}/[\\w-]{59}/\\d{1,16}/[\\w-]{22}))$`,
)

/** The key that a URI names for an owner; `undefined` where it is no URI of an artifact. */
export function keyOfUri(uri: string, owner: string): string | undefined {
  const match = URI.exec(uri)
  return match === null ? undefined : `${match[1] ?? match[3]}/${owner}/${match[2] ?? match[4]}`
}

/** Reads a key; `undefined` for one that was not made here, or whose task was sealed by a key that the ring has no longer. */
export function readKey(key: string, keys: KeyRing): KeyFacts | undefined {
  const [kind, owner = '', ...parts] = key.split('/')
  if (kind === 'call' && parts.length === 2) return { kind, owner, taskId: undefined, fence: undefined }
  if (kind === 'value' && parts.length === 3) return { kind, owner, taskId: parts[0], fence: Number(parts[1]) }
  if (kind !== 'task' || parts.length !== 4) return undefined
  const taskId = openTask(keys, `${parts[0]}/${parts[1]}`)
  return taskId === undefined ? undefined : { kind, owner, taskId, fence: Number(parts[2]) }
}

const NAMED = new RegExp(`${ARTIFACT_URI_PREFIX}[\\w/-]+`, 'g')

/**
 * Keys of the artifacts that a record of an owner's task names, by their URIs, wherever they stand in its JSON: what is on
 * record with {@link TaskStore.recordStep} and {@link TaskStore.finish} as `artifacts`.
 */
export function artifactsNamedIn(json: string, owner: string): string[] {
  // Most records name none, and this is quick to see.
  if (!json.includes(ARTIFACT_URI_PREFIX)) return []
  const keys = (json.match(NAMED) ?? []).map((uri) => keyOfUri(uri, owner))
  return [...new Set(keys.filter((key) => key !== undefined))]
}
