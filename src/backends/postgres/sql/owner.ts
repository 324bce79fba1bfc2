import { TASK_COLUMNS } from '../../sql/row.ts'
import { columnsOf, milliseconds, statement } from './statement.ts'

/** Questions of a task that have no answer, as two arrays. */
export const openAsks = (schema: string): string => `
  case when t.open_asks > 0 then array(select name from ${schema}.hf_journal j
    where j.task_id = t.id and j.kind = 1 and j.answered_at is null order by seq) end as ask_names,
  case when t.open_asks > 0 then array(select request from ${schema}.hf_journal j
    where j.task_id = t.id and j.kind = 1 and j.answered_at is null order by seq) end as ask_requests`

/** Reads a task. $1 id · $2 owner */
export const getTask = (schema: string) =>
  statement(
    'get_task',
    `select ${columnsOf('t', TASK_COLUMNS)}, ${openAsks(schema)} from ${schema}.hf_task t where t.id = $1 and t.owner = $2`,
  )

/** Reads a task of whatever owner. $1 id */
export const findTask = (schema: string) =>
  statement(
    'find_task',
    `select ${columnsOf('t', TASK_COLUMNS)}, ${openAsks(schema)} from ${schema}.hf_task t where t.id = $1`,
  )

/** Versions of tasks. $1 ids */
export const readVersions = (schema: string) =>
  statement('read_versions', `select id, version from ${schema}.hf_task where id = any($1::uuid[])`)

/**
 * Cancels. $1 id · $2 owner. Gives the state that it was met in.
 * An end that no claim has written takes a fence of its own, so that a late holder cannot pass for its author.
 */
export const cancelTask = (schema: string) =>
  statement(
    'cancel_task',
    `
with met as materialized (
  select id, state, cancel_at from ${schema}.hf_task where id = $1 and owner = $2 for no key update),
signalled as (
  update ${schema}.hf_task t set cancel_at = case when met.state = 1 then clock_timestamp() else t.cancel_at end,
      state = case when met.state = 1 then 1 else 5 end,
      fence = t.fence + (met.state <> 1)::int,
      done_fence = case when met.state <> 1 then t.fence + 1 end,
      purge_at = case when met.state <> 1 then clock_timestamp() + ${milliseconds('t.retention_ms')} end,
      version = t.version + (met.state <> 1)::int,
      updated_at = case when met.state <> 1 then clock_timestamp() else t.updated_at end
    from met where t.id = met.id and (met.state in (0, 2) or (met.state = 1 and met.cancel_at is null)))
select state from met`,
  )
