/** A cache of several processes, as far as the bench asks it for something. */
export interface CacheSystem {
  /** The value of a key, computed where there is none. */
  get(key: string, compute: () => Promise<string>): Promise<string>
  close(): Promise<void>
}
