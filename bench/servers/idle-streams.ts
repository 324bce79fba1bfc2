/** The measured server, with room for all the streams of the bench: they come from one anonymous address. */
import type { RuntimeOptions } from 'holdfast'

export { default } from './holdfast.ts'

export const options: RuntimeOptions = { maxStreamsPerPrincipal: 100_000 }
