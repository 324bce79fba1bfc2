import { HoldfastError, retrySoonMs } from '../errors/holdfast-error.ts'
import { LEGACY, MODERN } from './protocol.ts'

/** The node stops: another one is to be asked. */
export const draining = (): HoldfastError =>
  new HoldfastError('draining', 'The node is shutting down.', { data: { retryAfterMs: retrySoonMs() } })

/** A revision that nobody here speaks. */
export const unsupported = (version: string): HoldfastError =>
  new HoldfastError(
    'unsupported_protocol_version',
    `Revision ${JSON.stringify(version.slice(0, 40))} is not served here.`,
    { data: { supported: [...MODERN, ...LEGACY], requested: version } },
  )
