import { HoldfastError, stateUnavailable } from '../errors/holdfast-error.ts'
import { canonical, sha256 } from './digest.ts'
import type { Invocation, Outcome } from './invocation.ts'
import { idempotencyKey } from './keys.ts'
import { OWN_META, type JsonObject } from './protocol.ts'
import { runOnce } from './run-once.ts'

/** @throws {HoldfastError} `invalid_params` for a key of the wrong form: for anonymous callers it is a bearer secret. */
export function readIdempotencyKey(key: unknown): string {
  if (typeof key === 'string' && key.length >= 16 && key.length <= 255) return key
  throw new HoldfastError(
    'invalid_params',
    `\`_meta["${OWN_META.idempotencyKey}"]\` must be a string of 16 to 255 characters, hard to guess.`,
  )
}

/**
 * Serves a `tools/call` at most once per key: a repeated call with the same key and arguments gets the first outcome.
 * For anonymous callers the key is a bearer secret, so short ones are refused.
 *
 * @throws {HoldfastError} `invalid_params` for a key of the wrong form, `idempotency_key_reused` for other arguments,
 * `state_unavailable` where the store can't say whether the call was made before.
 */
export function withIdempotencyKey(
  invocation: Invocation,
  key: unknown,
  tool: string,
  args: JsonObject,
  run: () => Outcome | PromiseLike<Outcome>,
): Promise<Outcome> {
  const { services, principal, facts } = invocation
  const owner = [principal.issuer, principal.subject, principal.tenant ?? '']
  const once = {
    key: idempotencyKey(sha256([...owner, tool, readIdempotencyKey(key)])),
    kind: 'idempotency_key' as const,
    // A result is rendered for a revision; another revision's client must not be given it.
    digest: sha256([facts.revision, canonical(args), canonical(facts.params.inputResponses ?? null)]),
    // A question that has expired can't be gone on from: a repeat after it begins anew.
    keepMs: ({ resultType }: Outcome) =>
      resultType === 'input_required' ? services.options.questionTtlMs : services.options.idempotencyTtlMs,
    onOther: () =>
      new HoldfastError(
        'idempotency_key_reused',
        'This idempotency key was used with other arguments (or in another protocol revision). Use a new key for a new call.',
      ),
    onStoreLost: () => stateUnavailable(),
  }
  invocation.callKey = [once.key, once.digest]
  return runOnce(invocation, once, run)
}
