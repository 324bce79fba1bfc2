import { behind, busyCount } from './create.ts'
import { milliseconds, stateIs, statement } from './statement.ts'

/**
 * Records a step. $1 id · $2 fence · $3 name · $4 value · $5 lease (ms) · $6 artifacts (JSON)
 *
 * The update of the row is the lock: an insert that only looked at the fence let a stale holder write during a takeover. Of two
 * that race under one fence the second finds the name neither absent nor visible, and fails on the primary key: it exists.
 */
export const recordStep = (schema: string) =>
  statement(
    'record_step',
    `
with held as (
  update ${schema}.hf_task set journal_length = journal_length + 1, lease_until = clock_timestamp() + ${milliseconds('$5')}
   where id = $1 and fence = $2 and ${stateIs(1)}
     and not exists (select from ${schema}.hf_journal j where j.task_id = $1 and j.name = $3) returning journal_length),
recorded as (
  insert into ${schema}.hf_journal (task_id, name, seq, kind, fence, value, artifacts)
  select $1, $3, journal_length, 0, $2, $4, $6::jsonb from held returning seq)
select case when exists (select from recorded) then 'recorded'
  when exists (select from ${schema}.hf_task where id = $1 and fence = $2 and ${stateIs(1)})
   and exists (select from ${schema}.hf_journal where task_id = $1 and name = $3) then 'exists'
  else 'lost' end as outcome`,
  )

/**
 * Parks a task. $1 id · $2 fence · $3 wake after (ms) · $4 status message or null
 * Arrays: $5 names of questions · $6 questions · $7 their artifacts (JSON or null)
 * Gives whether it is to be cancelled, and was not parked; nothing where it is not held.
 */
export const parkTask = (schema: string) =>
  statement(
    'park_task',
    `
with held as materialized (
  select id, journal_length, cancel_at is not null as cancelled from ${schema}.hf_task
   where id = $1 and fence = $2 and ${stateIs(1)} for no key update),
parked as (
  update ${schema}.hf_task t set state = 2, worker = null, lease_until = null, open_asks = cardinality($5::text[]),
      run_at = clock_timestamp() + ${milliseconds('$3')}, status_message = coalesce($4::text, t.status_message),
      journal_length = t.journal_length + cardinality($5::text[]), version = t.version + 1, updated_at = clock_timestamp()
    from held h where t.id = h.id and not h.cancelled returning t.id),
asked as (
  insert into ${schema}.hf_journal (task_id, name, seq, kind, fence, request, artifacts)
  select h.id, a.name, h.journal_length + a.ord, 1, $2, a.request, a.artifacts::jsonb
    from parked join held h on h.id = parked.id
    cross join unnest($5::text[], $6::bytea[], $7::text[]) with ordinality as a (name, request, artifacts, ord))
select cancelled from held`,
  )

/**
 * Answers questions. $1 id · $2 owner · arrays: $3 names · $4 answers
 *
 * The lock of the row comes first, so that of racing answers each sees what the one before it has left.
 */
export const answerAsks = (schema: string) =>
  statement(
    'answer_asks',
    `
with task as materialized (
  select id, state, queue, owner, weight, open_asks from ${schema}.hf_task where id = $1 and owner = $2 for no key update),
answered as (
  update ${schema}.hf_journal j set value = a.value, answered_at = clock_timestamp()
    from task, unnest($3::text[], $4::bytea[]) as a (name, value)
   where task.state = 2 and j.task_id = task.id and j.name = a.name and j.kind = 1 and j.answered_at is null
  returning j.name),
counted as (select count(*)::int as count from answered),
changed as (
  update ${schema}.hf_task t set open_asks = t.open_asks - c.count, version = t.version + 1, updated_at = clock_timestamp(),
      state = case when t.open_asks = c.count then 0 else 2 end,
      run_at = case when t.open_asks = c.count then clock_timestamp() else t.run_at end,
      order_at = case when t.open_asks = c.count
        then clock_timestamp() + ${behind(busyCount(schema, 'task.queue', 'task.owner'), 'task.weight')} else t.order_at end
    from counted c, task where t.id = task.id and c.count > 0
  returning t.open_asks, t.state)
select coalesce(changed.open_asks, task.open_asks) as open, coalesce(changed.state, task.state) as state, task.queue
  from task left join changed on true`,
  )
