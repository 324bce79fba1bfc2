import type { Migration } from './migration.ts'

/**
 * Tasks and their journals.
 *
 * Columns that a heartbeat writes stand in no index, so that most heartbeats are updates within the page; the fill factor
 * leaves room for them. Final rows leave all indexes that claims and sweeps go through. A claim moves its row, and so writes into
 * each index that has leased rows: those are few. Names are compared by their bytes, which is quick.
 */
export const tasks: Migration = {
  number: 1,
  name: 'tasks',
  isBreaking: false,
  sql: (schema) => `
create table ${schema}.hf_task (
  id uuid primary key,
  owner text collate "C" not null,
  tool text collate "C" not null,
  queue text collate "C" not null,
  state smallint not null check (state between 0 and 5),
  run_at timestamptz not null,
  order_at timestamptz not null,
  weight real not null check (weight > 0),
  fence bigint not null default 0,
  done_fence bigint,
  worker text,
  claim_token uuid,
  lease_until timestamptz,
  attempts int not null default 0,
  max_attempts int not null,
  crashes int not null default 0,
  max_crashes int not null,
  journal_length int not null default 0,
  journal_mark int not null default 0,
  open_asks int not null default 0,
  cancel_at timestamptz,
  fails_when_lost boolean not null,
  is_attended boolean not null,
  version bigint not null default 1,
  status_message text,
  dead text,
  created_at timestamptz(3) not null,
  updated_at timestamptz(3) not null,
  expires_at timestamptz(3),
  retention_ms bigint not null,
  purge_at timestamptz,
  idempotency_key bytea,
  args_digest bytea not null,
  handler_revision text,
  redrive_of uuid,
  args bytea not null,
  caller bytea not null,
  result bytea,
  error bytea,
  artifacts jsonb,
  constraint hf_task_lease check ((state = 1) = (worker is not null and lease_until is not null)),
  constraint hf_task_end check ((state > 2) = (done_fence is not null and purge_at is not null))
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

create index hf_task_ready on ${schema}.hf_task (queue, tool, order_at) where state = 0;
create index hf_task_leased on ${schema}.hf_task (claim_token) where state = 1;
create index hf_task_waking on ${schema}.hf_task (run_at) where state = 2;
create index hf_task_expiring on ${schema}.hf_task (expires_at) where state in (0, 2) and expires_at is not null;
create index hf_task_purging on ${schema}.hf_task (purge_at) where state > 2;
create index hf_task_open on ${schema}.hf_task (queue, owner, state) where state < 3;
create unique index hf_task_key on ${schema}.hf_task (owner, tool, idempotency_key) where idempotency_key is not null;
create index hf_task_created on ${schema}.hf_task (created_at);
create index hf_task_dead on ${schema}.hf_task (created_at, id) where dead is not null;

create table ${schema}.hf_journal (
  task_id uuid not null references ${schema}.hf_task on delete cascade,
  name text not null,
  seq int not null,
  kind smallint not null check (kind in (0, 1)),
  fence bigint not null,
  request bytea,
  value bytea,
  artifacts jsonb,
  recorded_at timestamptz not null default clock_timestamp(),
  answered_at timestamptz,
  primary key (task_id, name)
) with (autovacuum_vacuum_scale_factor = 0.05);
`,
}
