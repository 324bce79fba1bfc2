import { randomBytes } from 'node:crypto'
import { ARTIFACT_URI_PREFIX } from '../define/content.ts'

/** Whose an artifact is, and which run of which work wrote it. */
export type ArtifactPlace =
  | {
      /** Hash of issuer, subject and tenant. */
      readonly owner: string
      readonly requestId: string
    }
  | {
      readonly owner: string
      readonly taskId: string
      /** Of the claim under which it was written: no two runs of a task share a key. */
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

/**
 * The key of a new artifact: `task/<owner>/<task>/<fence>/<id>`, or `call/<owner>/<request>/<id>`. A caller finds only what lies
 * under its own owner, since that part comes from who it is, and never from what it sends.
 */
export const newArtifactKey = (place: ArtifactPlace): string =>
  'taskId' in place
    ? `task/${place.owner}/${place.taskId}/${place.fence}/${newId()}`
    : `call/${place.owner}/${place.requestId}/${newId()}`

/** The key of a value of a task's records that is too big for them: `value/<owner>/<task>/<fence>/<id>`. No URI leads to it. */
export const newValueKey = ({ owner, taskId, fence }: Extract<ArtifactPlace, { taskId: string }>): string =>
  `value/${owner}/${taskId}/${fence}/${newId()}`

/** The URI of an artifact: its key without the owner. */
export function uriOfKey(key: string): string {
  const [kind, , ...rest] = key.split('/')
  return `${ARTIFACT_URI_PREFIX}${kind}/${rest.join('/')}`
}

const URI = new RegExp(
  `^${ARTIFACT_URI_PREFIX}(?:(call)/([\\w-]{1,64}/[\\w-]{22})|(task)/([\\w-]{1,64}/\\d{1,16}/[\\w-]{22}))$`,
)

/** The key that a URI names for an owner; `undefined` where it is no URI of an artifact. */
export function keyOfUri(uri: string, owner: string): string | undefined {
  const match = URI.exec(uri)
  return match === null ? undefined : `${match[1] ?? match[3]}/${owner}/${match[2] ?? match[4]}`
}

/** Reads a key; `undefined` for one that was not made here. */
export function readKey(key: string): KeyFacts | undefined {
  const [kind, owner, third, ...rest] = key.split('/')
  if (owner === undefined || third === undefined) return undefined
  if (kind === 'call' && rest.length === 1) return { kind, owner, taskId: undefined, fence: undefined }
  if ((kind === 'task' || kind === 'value') && rest.length === 2)
    return { kind, owner, taskId: third, fence: Number(rest[0]) }
  return undefined
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
