/** Where one partition stands. */
interface Partition {
  readonly open: Set<bigint>
  highest: bigint
  leaderEpoch: number
}

/** What a group commits for a partition: everything below `offset` is done. */
export interface Commit {
  readonly partition: number
  readonly offset: bigint
  readonly leaderEpoch: number
}

/**
 * Which messages of an assignment are under way. Messages end in any order, and Kafka knows one number for a partition: the
 * lowest offset that is still open.
 */
export class Offsets {
  readonly #partitions = new Map<number, Partition>()
  readonly #changed = new Set<number>()

  /** A message has come. @returns whether it is new: after a rebalance a partition is read again from its last commit. */
  open(partition: number, offset: bigint, leaderEpoch: number): boolean {
    const known = this.#partitions.get(partition)
    if (known === undefined) {
      this.#partitions.set(partition, { open: new Set([offset]), highest: offset, leaderEpoch })
      return true
    }
    if (offset <= known.highest) return false
    known.open.add(offset)
    known.highest = offset
    known.leaderEpoch = leaderEpoch
    return true
  }

  /** A message is done with. */
  close(partition: number, offset: bigint): void {
    if (this.#partitions.get(partition)?.open.delete(offset) === true) this.#changed.add(partition)
  }

  /** Forgets partitions that are others' now. */
  keep(partitions: readonly number[]): void {
    for (const partition of this.#partitions.keys())
      if (!partitions.includes(partition)) {
        this.#partitions.delete(partition)
        this.#changed.delete(partition)
      }
  }

  /** What is to be committed since the last time. */
  take(): Commit[] {
    const commits = [...this.#changed].map((partition): Commit => {
      const { open, highest, leaderEpoch } = this.#partitions.get(partition)!
      let lowest = highest + 1n
      for (const offset of open) if (offset < lowest) lowest = offset
      return { partition, offset: lowest, leaderEpoch }
    })
    this.#changed.clear()
    return commits
  }

  /** What was taken could not be committed: it is to be taken again, as far as it is still ours. */
  again(commits: readonly Commit[]): void {
    for (const { partition } of commits) if (this.#partitions.has(partition)) this.#changed.add(partition)
  }
}
