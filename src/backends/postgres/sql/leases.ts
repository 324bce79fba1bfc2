import { milliseconds, stateIs, statement } from './statement.ts'

/*
 * Writes of who holds tasks. A batch locks its rows in the order of their ids before it writes, since batches of several
 * connections meet: without that, heartbeats and ends of one worker were seen to wait for each other in a circle.
 */

/** The row that one of a batch names, locked, if it is held by that fence. One after the other, in the order of the batch. */
const heldBy = (schema: string, one: string): string =>
  `(select cancel_at from ${schema}.hf_task where id = ${one}.id and fence = ${one}.fence and ${stateIs(1)} for no key update)`

/** Renews leases. Arrays: $1 ids · $2 fences · $3 status messages · $4 lease (ms). Gives those that are held, and whether to stop. */
export const renewLeases = (schema: string) =>
  statement(
    'renew_leases',
    `
with held as materialized (
  select b.id, b.message
    from (select * from unnest($1::uuid[], $2::bigint[], $3::text[]) as b (id, fence, message) order by id) b
    cross join lateral ${heldBy(schema, 'b')} t)
update ${schema}.hf_task t set lease_until = clock_timestamp() + ${milliseconds('$4')},
    status_message = coalesce(h.message, t.status_message),
    version = t.version + case when h.message is distinct from t.status_message and h.message is not null then 1 else 0 end,
    updated_at = case when h.message is distinct from t.status_message and h.message is not null then clock_timestamp() else t.updated_at end
  from held h where t.id = h.id
returning t.id, t.fence, (t.cancel_at is not null or (t.expires_at is not null and t.expires_at <= clock_timestamp())) as cancel`,
  )

/** Keeps attended tasks alive. $1 ids · $2 time to live (ms) */
export const attendTasks = (schema: string) =>
  statement(
    'attend_tasks',
    `
with attended as materialized (
  select t.id
    from (select * from unnest($1::uuid[]) as b (id) order by id) b
    cross join lateral (
      select id from ${schema}.hf_task where id = b.id and is_attended and state + 0 < 3 for no key update) t)
update ${schema}.hf_task t set expires_at = clock_timestamp() + ${milliseconds('$2')} from attended a where t.id = a.id`,
  )

/**
 * Ends tasks. Arrays: $1 ids · $2 fences · $3 states · $4 reasons of dead letters · $5 artifacts (JSON) · $6 where its bytes begin ·
 * $7 lengths of results (or null) · $8 lengths of errors (or null). $9 the bytes of all, one task's after another's. And again an array: $10 status messages (or null: as before).
 * Gives those that were held.
 */
export const finishTasks = (schema: string) =>
  statement(
    'finish_tasks',
    `
with held as materialized (
  select b.*
    from (select * from unnest($1::uuid[], $2::bigint[], $3::smallint[], $4::text[], $5::jsonb[], $6::int[], $7::int[], $8::int[], $10::text[])
      as b (id, fence, state, dead, artifacts, at, result_length, error_length, message) order by id) b
    cross join lateral ${heldBy(schema, 'b')} t)
update ${schema}.hf_task t set state = h.state, result = substring($9::bytea from h.at + 1 for h.result_length),
    error = substring($9::bytea from h.at + coalesce(h.result_length, 0) + 1 for h.error_length), dead = h.dead, artifacts = h.artifacts,
    status_message = coalesce(h.message, t.status_message),
    done_fence = t.fence, worker = null, lease_until = null, version = t.version + 1, updated_at = clock_timestamp(),
    purge_at = clock_timestamp() + ${milliseconds('t.retention_ms')}
  from held h where t.id = h.id returning t.id, t.fence`,
  )

/** Gives tasks back. Arrays: $1 ids · $2 fences. Gives those that were held; those to be cancelled have ended. */
export const releaseTasks = (schema: string) =>
  statement(
    'release_tasks',
    `
with held as materialized (
  select b.id, t.cancel_at is not null as ends
    from (select * from unnest($1::uuid[], $2::bigint[]) as b (id, fence) order by id) b
    cross join lateral ${heldBy(schema, 'b')} t)
update ${schema}.hf_task t set worker = null, lease_until = null,
    state = case when h.ends then 5 else 0 end,
    run_at = case when h.ends then t.run_at else clock_timestamp() end,
    done_fence = case when h.ends then t.fence end,
    purge_at = case when h.ends then clock_timestamp() + ${milliseconds('t.retention_ms')} end,
    version = t.version + h.ends::int, updated_at = case when h.ends then clock_timestamp() else t.updated_at end
  from held h where t.id = h.id returning t.id`,
  )

/** Puts a task off. $1 id · $2 fence · $3 delay (ms) · $4 status message. Gives whether it was to be cancelled, and has ended. */
export const retryTask = (schema: string) =>
  statement(
    'retry_task',
    `
with held as materialized (
  select id, cancel_at is not null as ends from ${schema}.hf_task where id = $1 and fence = $2 and ${stateIs(1)} for no key update)
update ${schema}.hf_task t set worker = null, lease_until = null, version = t.version + 1, updated_at = clock_timestamp(),
    state = case when h.ends then 5 else 2 end,
    run_at = case when h.ends then t.run_at else clock_timestamp() + ${milliseconds('$3')} end,
    attempts = t.attempts + (not h.ends)::int,
    status_message = case when h.ends then t.status_message else coalesce($4::text, t.status_message) end,
    done_fence = case when h.ends then t.fence end,
    purge_at = case when h.ends then clock_timestamp() + ${milliseconds('t.retention_ms')} end
  from held h where t.id = h.id returning h.ends`,
  )
