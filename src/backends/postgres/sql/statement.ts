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

/**
 * A condition on the state of a row that is looked up by its id. Written so that no partial index on the state seems to fit: the
 * planner takes those for tiny when they were at its last look, and read all leased rows for each of a batch (50 ms for 1,000).
 */
export const stateIs = (state: number, alias = 'hf_task'): string => `${alias}.state + 0 = ${state}`
