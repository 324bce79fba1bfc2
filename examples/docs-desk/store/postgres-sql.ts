/** The statements of the Postgres store, in the schema of a (quoted) name. `$1`, `$2` … are listed above each. */
export function statements(schema: string) {
  const summary = `select d.id, d.title, d.source, char_length(d.text) as characters, d.stored_at as "storedAt",
    (select count(*) from ${schema}.passages p where p.document = d.id)::int as passages from ${schema}.documents d`
  // $1 model. SQLite's NOCASE and its order of texts are those of the collation C.
  const unembedded = `from ${schema}.passages p where not exists (
    select from ${schema}.vectors v where v.hash = p.hash and v.model = $1)`
  return {
    revision: `select revision::text from ${schema}.state`,
    /** Also the lock under which the index changes. */
    nextRevision: `update ${schema}.state set revision = revision + 1 returning revision::text`,

    list: `${summary} order by lower(d.title collate "C"), d.id collate "C"`,
    /** id or title */
    find: `${summary} where d.id = $1 or (lower(d.title collate "C") = lower($1 collate "C")
      and not exists (select from ${schema}.documents where id = $1)) order by d.id collate "C"`,
    /** id */
    text: `select text from ${schema}.documents where id = $1`,
    /** source */
    bySource: `select id, content_hash as "contentHash" from ${schema}.documents where source = $1`,
    /** prefix */
    withSourcePrefix: `select id, source from ${schema}.documents where starts_with(source, $1)`,

    /** id */
    contentHash: `select content_hash as "contentHash" from ${schema}.documents where id = $1`,
    /** id. Gives the hashes of the passages that were there. */
    removePassages: `with words as (delete from ${schema}.passage_words w using ${schema}.passages p
        where p.chunk = w.chunk and p.document = $1 returning w.length),
      gone as (delete from ${schema}.passages where document = $1 returning hash),
      counted as (update ${schema}.state set passages = passages - (select count(*) from words),
        words = words - (select coalesce(sum(length), 0) from words))
      select distinct hash from gone`,
    /** id, title, source, content hash, text */
    putDocument: `insert into ${schema}.documents (id, title, source, content_hash, text, stored_at)
      values ($1, $2, $3, $4, $5, clock_timestamp())
      on conflict (id) do update set title = excluded.title, source = excluded.source,
        content_hash = excluded.content_hash, text = excluded.text, stored_at = excluded.stored_at`,
    /** id; of each passage: heading path, text, start, end, hash, length, frequencies */
    addPassages: `with given as (select * from unnest($2::jsonb[], $3::text[], $4::int[], $5::int[], $6::text[], $7::int[], $8::jsonb[])
        with ordinality as g (heading_path, text, "start", "end", hash, length, frequencies, place)),
      numbered as (select nextval(pg_get_serial_sequence('${schema}.passages', 'chunk'))::int as chunk, ordered.*
        from (select * from given order by place) ordered),
      added as (insert into ${schema}.passages (chunk, document, heading_path, text, "start", "end", hash)
        overriding system value select chunk, $1, heading_path, text, "start", "end", hash from numbered),
      counted as (update ${schema}.state set passages = passages + (select count(*) from given),
        words = words + (select coalesce(sum(length), 0) from given))
      insert into ${schema}.passage_words (chunk, length, frequencies) select chunk, length, frequencies from numbered`,
    /** hashes */
    removeUnusedVectors: `delete from ${schema}.vectors v where v.hash = any($1)
      and not exists (select from ${schema}.passages p where p.hash = v.hash)`,
    /** id */
    removeDocument: `delete from ${schema}.documents where id = $1`,

    /** model */
    countUnembedded: `select count(distinct p.hash)::int as count ${unembedded}`,
    /** model, limit, start */
    unembedded: `select chosen.hash, d.title, p.heading_path as "headingPath", p.text
      from (select p.hash, min(p.chunk) as chunk ${unembedded} group by p.hash
        order by p.hash collate "C" < $3, p.hash collate "C" limit $2) chosen
      join ${schema}.passages p using (chunk) join ${schema}.documents d on d.id = p.document
      order by chosen.hash collate "C" < $3, chosen.hash collate "C"`,
    /** model, dimensions */
    removeOtherVectors: `delete from ${schema}.vectors where model = $1 and dimensions <> $2`,
    /** model, dimensions, revision; hash and vectors of each passage */
    putVectors: `insert into ${schema}.vectors (hash, model, dimensions, parts, revision)
      select g.hash, $1, $2, g.parts, $3 from unnest($4::text[], $5::bytea[]) g (hash, parts)
      where exists (select from ${schema}.passages p where p.hash = g.hash) on conflict do nothing`,

    /**
     * terms of the query, limit. BM25 as SQLite's FTS5 has it (k1 1.2, b 0.75, a term in more than half of all passages counts
     * next to nothing): for each term, how rare it is among all passages, times how much of this passage it is.
     */
    searchText: `with asked as (select * from unnest($1::text[]) with ordinality as a (term, place)),
      hits as materialized (select chunk, length, frequencies from ${schema}.passage_words where frequencies ?| $1),
      found as materialized (select h.chunk, h.length, a.place, (h.frequencies ->> a.term)::float8 as frequency
        from hits h cross join asked a where h.frequencies ? a.term),
      counted as (select place, count(*)::float8 as hits from found group by place),
      whole as (select passages::float8 as passages, words::float8 / greatest(passages, 1) as average from ${schema}.state),
      rarity as (select place, greatest(ln((passages - hits + 0.5) / (hits + 0.5)), 1e-6) as weight from counted, whole)
      select chunk, sum(weight * (frequency * 2.2) / (frequency + 1.2 * (0.25 + 0.75 * length / average)) order by place) as score
      from found join rarity using (place) cross join whole group by chunk order by score desc, chunk limit $2`,

    /** model, dimensions */
    embeddedPassages: `select p.chunk, p.hash from ${schema}.passages p join ${schema}.vectors v using (hash)
      where v.model = $1 and v.dimensions = $2 order by p.chunk`,
    /** model, dimensions, revision */
    vectorsSince: `select hash, parts from ${schema}.vectors where model = $1 and dimensions = $2 and revision > $3`,
    /** chunks */
    passages: `select p.chunk, p.document, d.title, d.source, p.heading_path as "headingPath", p.text, p."start", p."end"
      from unnest($1::int[]) with ordinality asked (chunk, place)
      join ${schema}.passages p on p.chunk = asked.chunk join ${schema}.documents d on d.id = p.document order by asked.place`,
  }
}
