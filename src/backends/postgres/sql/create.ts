import { ORDER_MOST_COUNTED, ORDER_MOST_MS, ORDER_STEP_MS } from '../../sql/order.ts'
import { TASK_COLUMNS } from '../../sql/row.ts'
import { columnsOf, milliseconds, statement } from './statement.ts'

/** How many tasks an owner has ready or leased in a queue, as far as they are counted. `state < 3` is there for the index. */
export const busyCount = (schema: string, queue: string, owner: string): string => `
  (select count(*) from (
     select from ${schema}.hf_task where queue = ${queue} and owner = ${owner} and state < 2 and state < 3 limit ${ORDER_MOST_COUNTED}) counted)`

/** How far behind a task with so many of its owner's before it is put. */
export const behind = (count: string, weight: string): string =>
  milliseconds(`least(${ORDER_MOST_MS}, ${count} * ${ORDER_STEP_MS} / ${weight})`)

/**
 * CTEs that end in `placed`: the rows of `source` (with queue and owner), and as `before` how many of the owner's tasks come
 * before each. Counted once for each owner, and without a join.
 */
export const placedAfterOthers = (schema: string, source: string, order: string): string => `
ranked as (
  select s.*, row_number() over (partition by queue, owner order by ${order}) as rank from ${source} s),
counted as materialized (
  select r.*, case when rank = 1 then ${busyCount(schema, 'r.queue', 'r.owner')} end as busy from ranked r),
placed as (
  select c.*, first_value(busy) over (partition by queue, owner order by rank) + rank - 1 as before from counted c)`

/**
 * Inserts tasks that are not there yet; gives those that were inserted.
 *
 * Arrays, one element each for a task: $1 ids · $2 owners · $3 tools · $4 queues · $5 delays (ms) · $6 weights · $7 most attempts
 * · $8 most crashes · $9 fails when lost · $10 is attended · $11 times to live (ms, or null) · $12 retentions (ms) · $13 revisions of
 * handlers · $14 what is redriven · $15 where its bytes begin · lengths of $16 the hash of its idempotency key (or null) · $17 the digest of
 * its arguments · $18 its arguments · $19 its caller. And $20 the bytes of all, one task's after another's, in that order.
 *
 * Where another transaction has just inserted the same id or key this waits for its end, and then inserts nothing: the other's
 * row is in no snapshot of this statement, so {@link findCreated} is a statement of its own. Rows go in by their keys, so that
 * batches with the same keys do not wait for each other in a circle.
 */
export const insertTasks = (schema: string) =>
  statement(
    'insert_tasks',
    `
with input as materialized (
  select * from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::float8[], $6::float8[], $7::int[], $8::int[], $9::bool[],
      $10::bool[], $11::float8[], $12::bigint[], $13::text[], $14::uuid[], $15::int[], $16::int[], $17::int[], $18::int[], $19::int[])
    with ordinality as i (id, owner, tool, queue, delay_ms, weight, max_attempts, max_crashes, fails_when_lost,
      is_attended, ttl_ms, retention_ms, handler_revision, redrive_of, at, key_length, digest_length, args_length, caller_length, ord)),
${placedAfterOthers(schema, 'input', 'ord')},
whole as (
  select p.*, substring($20::bytea from at + 1 for key_length) as idempotency_key,
      at + coalesce(key_length, 0) + 1 as digest_at, at + coalesce(key_length, 0) + digest_length + 1 as args_at
    from placed p)
insert into ${schema}.hf_task as t (id, owner, tool, queue, state, run_at, order_at, weight, max_attempts, max_crashes, fails_when_lost,
    is_attended, created_at, updated_at, expires_at, retention_ms, idempotency_key, args_digest, handler_revision, redrive_of, args, caller)
select id, owner, tool, queue, case when delay_ms > 0 then 2 else 0 end, now() + ${milliseconds('delay_ms')},
    now() + ${milliseconds('delay_ms')} + ${behind('before', 'weight')}, weight, max_attempts, max_crashes, fails_when_lost,
    is_attended, now(), now(), now() + ${milliseconds('ttl_ms')}, retention_ms, idempotency_key,
    substring($20::bytea from digest_at for digest_length), handler_revision, redrive_of,
    substring($20::bytea from args_at for args_length), substring($20::bytea from args_at + args_length for caller_length)
  from whole order by owner, tool, idempotency_key, id
on conflict do nothing
returning t.id, t.created_at, t.expires_at`,
  )

/**
 * The tasks that stand where others were to be created.
 *
 * Arrays: $1 ids · $2 owners · $3 tools · $4 hashes of idempotency keys. Gives their index in the arrays, from 1, beside the row.
 */
export const findCreated = (schema: string) =>
  statement(
    'find_created',
    `
select i.ord::int, ${columnsOf('t', TASK_COLUMNS)}
  from unnest($1::uuid[], $2::text[], $3::text[], $4::bytea[]) with ordinality as i (id, owner, tool, idempotency_key, ord)
  cross join lateral (
    select f.* from ${schema}.hf_task f where f.id = i.id and f.owner = i.owner
    union all
    select f.* from ${schema}.hf_task f
      where f.owner = i.owner and f.tool = i.tool and f.idempotency_key = i.idempotency_key and i.idempotency_key is not null
    limit 1) t`,
  )
