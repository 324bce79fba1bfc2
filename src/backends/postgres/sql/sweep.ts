import { CRASH_BACKOFF_MOST_MS } from '../../sql/order.ts'
import { behind, placedAfterOthers } from './create.ts'
import { milliseconds, statement } from './statement.ts'

/** Ids to ring for, of one queue and tool: a bell wakes workers, and they claim whatever is there. */
const RINGS_EACH = 100

/**
 * Expires tasks, takes leases that have run out, wakes what is due, and names what is overdue.
 *
 * $1 most of each kind · $2 error of what expired · $3 error of what was lost · $4 wait after the first crash (ms) · $5 overdue after (ms)
 * · $6 whether leases and attendances are spared · $7 the answer that nobody gave
 * Gives rows of kind, id, queue, and the version where an owner can see the change; and one of kind `old` where there is something to
 * purge, so that an idle sweep is one statement.
 *
 * A question that the statement's snapshot does not have leaves its task to the next sweep.
 *
 * Rows that somebody is at are passed over, so sweeps never wait, and several at once do each thing once. Overdue rows are found
 * by jumping from one queue and tool to the next in the index: looking through all that is ready took 80 ms at 100 thousand.
 */
export const sweepTasks = (schema: string) =>
  statement(
    'sweep_tasks',
    `
with recursive expired as materialized (
  select id, cancel_at, fails_when_lost, is_attended, 0 as crashes, max_crashes, true as expires from ${schema}.hf_task
   where state in (0, 2) and expires_at is not null and expires_at <= now() and not ($6 and is_attended)
   order by expires_at limit $1 for no key update skip locked),
lost as materialized (
  select id, cancel_at, fails_when_lost, is_attended, case when journal_length > journal_mark then 1 else crashes + 1 end as crashes,
      max_crashes, coalesce(expires_at <= now(), false) as expires from ${schema}.hf_task
   where not $6 and state = 1 and lease_until <= now()
   limit $1 for no key update skip locked),
judged as materialized (
  select id, expires, crashes, case when cancel_at is not null or (expires and is_attended) then 'cancelled' when expires then 'expired' when fails_when_lost then 'lost'
      when crashes > max_crashes then 'crashes' else 'parked' end as how
    from (select * from expired union all select * from lost) late),
ended as (
  update ${schema}.hf_task t set worker = null, lease_until = null, version = t.version + 1, updated_at = clock_timestamp(),
      state = case j.how when 'parked' then 2 when 'cancelled' then 5 else 4 end,
      crashes = case when j.how in ('parked', 'crashes') then j.crashes else t.crashes end,
      run_at = case when j.how = 'parked' then clock_timestamp()
        + ${milliseconds(`least($4::float8 * power(2, least(j.crashes - 1, 30)), ${CRASH_BACKOFF_MOST_MS})`)} else t.run_at end,
      fence = t.fence + (j.how <> 'parked')::int,
      done_fence = case when j.how <> 'parked' then t.fence + 1 end,
      error = case when j.how = 'expired' then $2::bytea when j.how in ('lost', 'crashes') then $3::bytea end,
      dead = case when j.how in ('expired', 'lost', 'crashes') then j.how end,
      purge_at = case when j.how <> 'parked' then clock_timestamp() + ${milliseconds('t.retention_ms')} end
    from judged j where t.id = j.id returning case when j.expires then 'expired' else 'lost' end as kind, t.id, t.queue, t.version),
due as materialized (
  select id, queue, owner, weight, open_asks from ${schema}.hf_task
   where state = 2 and run_at <= now() and (expires_at is null or expires_at > now() or ($6 and is_attended))
   order by run_at limit $1 for no key update skip locked),
silent as (
  update ${schema}.hf_journal j set value = $7::bytea, answered_at = clock_timestamp()
    from due where due.open_asks > 0 and j.task_id = due.id and j.kind = 1 and j.answered_at is null returning j.task_id),
${placedAfterOthers(schema, 'due', 'id')},
woken as (
  update ${schema}.hf_task t set state = 0, order_at = clock_timestamp() + ${behind('p.before', 'p.weight')}, open_asks = 0,
      version = t.version + (p.open_asks > 0)::int, updated_at = case when p.open_asks > 0 then clock_timestamp() else t.updated_at end
    from placed p where t.id = p.id and p.open_asks = (select count(*) from silent s where s.task_id = p.id)
  returning 'woken' as kind, t.id, t.queue, case when p.open_asks > 0 then t.version end as version),
place (queue, tool) as (
  (select queue, tool from ${schema}.hf_task where state = 0 order by queue, tool limit 1)
  union all
  select next.queue, next.tool from place cross join lateral (
    select queue, tool from ${schema}.hf_task where state = 0 and (queue, tool) > (place.queue, place.tool) order by queue, tool limit 1) next),
overdue as (
  select 'overdue' as kind, o.id, place.queue, null::bigint as version from place cross join lateral (
    select id from ${schema}.hf_task where state = 0 and queue = place.queue and tool = place.tool and order_at <= now() - ${milliseconds('$5')}
     order by order_at limit least($1, ${RINGS_EACH})) o)
select * from ended union all select * from woken union all select * from overdue
union all
select 'old', null, null, null where exists (select from ${schema}.hf_task where state > 2 and purge_at <= now())`,
  )

/** Deletes what has ended, after its retention, with its journal. $1 most. Gives how many. A statement of its own: a purge that fails must stop nothing else. */
export const purgeTasks = (schema: string) =>
  statement(
    'purge_tasks',
    `
with old as materialized (
  select id from ${schema}.hf_task where state > 2 and purge_at <= now() order by purge_at limit $1 for update skip locked),
gone as (delete from ${schema}.hf_task t using old where t.id = old.id returning t.id)
select count(*)::int as count from gone`,
  )
