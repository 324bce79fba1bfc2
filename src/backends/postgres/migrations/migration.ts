/** A step of the schema. Once released it is never edited: what is to change comes as the next one. */
export interface Migration {
  /** 1, 2, 3, … */
  readonly number: number
  readonly name: string
  /** Whether code that does not know it must stop: nodes of the release before go on with all others. */
  readonly isBreaking: boolean
  /** Statements; `schema` is quoted. */
  sql(schema: string): string
}
