import { HoldfastError } from '../errors/holdfast-error.ts'
import type { KeyRing } from '../kernel/key-ring.ts'
import type { TaskCaller } from '../kernel/task-engine.ts'

const PURPOSE = 'task-caller'

/** Seals the caller for the store: it holds who they are, never a token. */
export function sealCaller(keys: KeyRing, { principal, client, ...rest }: TaskCaller): Uint8Array {
  // What a client says of itself may stand behind getters.
  const { name, version, protocolVersion, capabilities } = client
  const caller = { ...rest, principal, client: { name, version, protocolVersion, capabilities } }
  return Buffer.from(keys.seal(Buffer.from(JSON.stringify(caller)), PURPOSE))
}

/** @throws {HoldfastError} `invalid_option` where no key of the ring opens it: a task must not run as nobody. */
export function openCaller(keys: KeyRing, sealed: Uint8Array): TaskCaller {
  const plain = keys.open(Buffer.from(sealed).toString(), PURPOSE)
  if (plain === undefined)
    throw new HoldfastError(
      'invalid_option',
      'The caller of a task was sealed with a key that this worker does not have. Give nodes and workers the same HOLDFAST_KEYS, and keep old keys in the ring as long as tasks live.',
    )
  return JSON.parse(plain.toString()) as TaskCaller
}
