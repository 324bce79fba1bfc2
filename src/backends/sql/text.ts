/** What a text column can't hold or would change: NUL, halves of surrogate pairs, and the sign that stands for them. */
const UNSAFE = /[\0\u0001]|\p{Surrogate}/gu
const MARKED = /\u0001([0-9a-f]{4})/g

/**
 * A string as a text column can hold it. Names come from clients too: one NUL in a status message would make a whole batch of
 * heartbeats fail. {@link fromText} gives the string back.
 */
export const toText = (value: string): string =>
  value.replaceAll(UNSAFE, (unit) => `\u0001${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)

/** The string that {@link toText} was given. */
export const fromText = (stored: string): string =>
  stored.replaceAll(MARKED, (_, code: string) => String.fromCharCode(Number.parseInt(code, 16)))
