/** Writes of one call that are under way at once. */
const PARALLEL = 25

/** Runs over all, some at once; answers in their order. */
export async function parallel<In, Out>(all: readonly In[], run: (one: In) => Promise<Out>): Promise<Out[]> {
  const results: Out[] = []
  for (let from = 0; from < all.length; from += PARALLEL)
    results.push(...(await Promise.all(all.slice(from, from + PARALLEL).map(run))))
  return results
}
