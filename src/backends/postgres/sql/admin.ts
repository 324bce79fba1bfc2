import type { TaskFilter } from '../../../ports/task-store.ts'
import { conditionsOf, fromCursor } from '../../sql/cursor.ts'
import { TASK_COLUMNS } from '../../sql/row.ts'
import { behind, busyCount } from './create.ts'
import { openAsks } from './owner.ts'
import { columnsOf, statement } from './statement.ts'

/** A page of tasks, the newest first, and one more to know whether there is another page. */
export function listTasks(schema: string, filter: TaskFilter): { text: string; values: (string | number)[] } {
  const { conditions, values, place } = conditionsOf(filter, (index) => `$${index}`)
  if (filter.cursor !== undefined) {
    const { createdMs, id } = fromCursor(filter.cursor)
    conditions.push(
      `(created_at, id) < (to_timestamp(${place(createdMs)}::float8 / 1000)::timestamptz(3), ${place(id)}::uuid)`,
    )
  }
  const limit = place(filter.limit + 1)
  return {
    text: `select ${columnsOf('t', TASK_COLUMNS)}, ${openAsks(schema)} from ${schema}.hf_task t
 where ${conditions.join(' and ')} order by created_at desc, id desc limit ${limit}`,
    values,
  }
}

/**
 * What waits in queues. $1 queues
 *
 * Counted in the index alone, where its pages have been vacuumed; the oldest is the oldest of each tool's first.
 */
export const readBacklog = (schema: string) =>
  statement(
    'read_backlog',
    `
select asked.queue, c.*, greatest(0, coalesce(extract(epoch from now() - o.run_at) * 1000, 0))::float8 as oldest_ready_ms
  from unnest($1::text[]) as asked (queue)
  cross join lateral (
    select count(*) filter (where state = 0)::int as ready, count(*) filter (where state = 1)::int as leased,
        count(*) filter (where state = 2)::int as parked
      from ${schema}.hf_task where queue = asked.queue and state < 3) c
  cross join lateral (
    with recursive place (tool) as (
      (select tool from ${schema}.hf_task where state = 0 and queue = asked.queue order by tool limit 1)
      union all
      select next.tool from place cross join lateral (
        select tool from ${schema}.hf_task where state = 0 and queue = asked.queue and tool > place.tool order by tool limit 1) next)
    select min(f.run_at) as run_at from place cross join lateral (
      select run_at from ${schema}.hf_task where state = 0 and queue = asked.queue and tool = place.tool order by order_at limit 1) f) o`,
  )

/** Whether more are ready than some number. $1 queue · $2 number. Looks at one more than that at most. */
export const isOver = (schema: string) =>
  statement(
    'is_over',
    `select count(*) > $2::int as over from (select from ${schema}.hf_task where state = 0 and queue = $1 limit $2::int + 1) ready`,
  )

/** Artifacts that tasks name. $1 ids */
export const readArtifacts = (schema: string) =>
  statement(
    'read_artifacts',
    `
select jsonb_array_elements_text(artifacts) as key from ${schema}.hf_task where id = any($1::uuid[]) and artifacts is not null
union all
select jsonb_array_elements_text(artifacts) from ${schema}.hf_journal where task_id = any($1::uuid[]) and artifacts is not null`,
  )

/** A new task from a dead letter, which nobody attends any more. $1 id · $2 the new id. Gives nothing where the first is no dead letter, or the second is taken. */
export const redriveTask = (schema: string) =>
  statement(
    'redrive_task',
    `
insert into ${schema}.hf_task as t (id, owner, tool, queue, state, run_at, order_at, weight, max_attempts, max_crashes, fails_when_lost,
    is_attended, created_at, updated_at, expires_at, retention_ms, args_digest, handler_revision, redrive_of, args, caller)
select $2, owner, tool, queue, 0, now(), now() + ${behind(busyCount(schema, 'd.queue', 'd.owner'), 'd.weight')}, weight,
    max_attempts, max_crashes, fails_when_lost, false, now(), now(),
    case when not is_attended then now() + (expires_at - created_at) end, retention_ms, args_digest,
    handler_revision, id, args, caller
  from ${schema}.hf_task d where d.id = $1 and d.dead is not null
on conflict do nothing
returning ${columnsOf('t', TASK_COLUMNS)}`,
  )

/** The task that a redrive has made before. $1 id · $2 the new id */
export const findRedriven = (schema: string) =>
  statement(
    'find_redriven',
    `select ${columnsOf('t', TASK_COLUMNS)}, ${openAsks(schema)} from ${schema}.hf_task t where t.id = $2 and t.redrive_of = $1`,
  )
