import { CLAIMED_COLUMNS } from '../../sql/row.ts'
import { columnsOf, milliseconds, stateIs, statement } from './statement.ts'

/** Candidates beside those wanted: so many may be locked by others at this moment before a claim comes back with too few. */
const SPARE_CANDIDATES = 100

/**
 * Takes ready tasks of one queue, or gives again what this token took.
 *
 * $1 worker · $2 token · $3 queue · $4 tools · $5 known revisions of handlers · $6 most tasks · $7 lease (ms)
 *
 * One index scan for each tool, so that a backlog of a tool that is not asked for costs nothing. Candidates are found without
 * locks and locked one after the other until there are enough; a row that changed in between is looked at again by its newest
 * version. The journal is read afterwards, by a statement of its own: this one's snapshot may be older than the journal of a row
 * that another worker has just given back.
 */
export const claimTasks = (schema: string) =>
  statement(
    'claim_tasks',
    `
with mine as materialized (
  select id from ${schema}.hf_task where claim_token = $2 and state = 1 and worker = $1),
candidate as materialized (
  select c.id, c.order_at
    from unnest($4::text[]) as asked (tool)
    cross join lateral (
      select id, order_at from ${schema}.hf_task
       where state = 0 and queue = $3 and tool = asked.tool
         and (handler_revision is null or handler_revision = any($5::text[])) and (expires_at is null or expires_at > now())
       order by order_at limit $6::int + ${SPARE_CANDIDATES}) c
   where not exists (select from mine)
   order by c.order_at limit $6::int + ${SPARE_CANDIDATES}),
pick as materialized (
  select l.id from candidate c cross join lateral (
    select t.id from ${schema}.hf_task t where t.id = c.id and ${stateIs(0, 't')} for no key update skip locked) l
   limit $6),
taken as (
  update ${schema}.hf_task t set state = 1, fence = t.fence + 1, worker = $1, claim_token = $2,
      lease_until = clock_timestamp() + ${milliseconds('$7')}, journal_mark = t.journal_length
    from pick where t.id = pick.id returning ${columnsOf('t', CLAIMED_COLUMNS)})
select * from taken
union all
select ${columnsOf('t', CLAIMED_COLUMNS)} from mine join ${schema}.hf_task t on t.id = mine.id where ${stateIs(1, 't')} and t.claim_token = $2
order by order_at`,
  )

/** The journals of tasks, in order. $1 ids */
export const readJournals = (schema: string) =>
  statement(
    'read_journals',
    `select task_id, name, kind, request, value from ${schema}.hf_journal where task_id = any($1::uuid[]) order by task_id, seq`,
  )
