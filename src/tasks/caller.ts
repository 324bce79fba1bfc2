import type { Client, Principal } from '../define/context.ts'
import { HoldfastError } from '../errors/holdfast-error.ts'
import type { KeyRing } from '../kernel/key-ring.ts'

/** Who asked for a task, and what their client can do: what a worker runs it with. */
export interface Caller {
  readonly principal: Principal
  readonly client: Client
  /** Revision that the result is rendered for. */
  readonly revision: string
  readonly requestId: string
  readonly traceparent: string | undefined
}

const PURPOSE = 'task-caller'

/** Seals the caller for the store: it holds who they are, never a token. */
export function sealCaller(keys: KeyRing, caller: Caller): Uint8Array {
  return Buffer.from(keys.seal(Buffer.from(JSON.stringify(caller)), PURPOSE))
}

/** @throws {HoldfastError} `invalid_option` where no key of the ring opens it: a task must not run as nobody. */
export function openCaller(keys: KeyRing, sealed: Uint8Array): Caller {
  const plain = keys.open(Buffer.from(sealed).toString(), PURPOSE)
  if (plain === undefined)
    throw new HoldfastError(
      'invalid_option',
      'The caller of a task was sealed with a key that this worker does not have. Give nodes and workers the same HOLDFAST_KEYS, and keep old keys in the ring as long as tasks live.',
    )
  return JSON.parse(plain.toString()) as Caller
}
