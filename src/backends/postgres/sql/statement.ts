/** A statement that connections prepare once, under its name. */
export interface Statement {
  readonly name: string
  readonly text: string
}

/** Makes a prepared statement. */
export const statement = (name: string, text: string): Statement => ({ name: `hf_${name}`, text })

/** `$n` as a duration: milliseconds. */
export const milliseconds = (parameter: string): string => `${parameter}::float8 * interval '1 millisecond'`

/** Columns of a table's alias. */
export const columnsOf = (alias: string, columns: readonly string[]): string =>
  columns.map((column) => `${alias}.${column}`).join(', ')
