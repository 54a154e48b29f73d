import type { Cases, Step } from '../case.js';

const given = `create table t (id int primary key, v text, n int);
  insert into t values (1, 'a', 10), (2, 'b', 20)`;

/** A little of everything that we look at, under settings that nobody has thought of. */
const life: readonly Step[] = [
  `create table app.a (id serial primary key, "Na'me" text default $$it's \\ here$$, d date)`,
  `insert into app.a (d) values ('2024-02-01') returning id, "Na'me"`,
  'create index on app.a (d)',
  'alter table app.a alter column id type bigint',
  'comment on table app.a is $$a \\ b$$',
  'alter table app.t rename column n to m',
  'alter table app.t alter column v type varchar(10)',
  'alter table app.t drop constraint t_pkey',
  `update app.t set v = 'c' where id = 1`,
  'alter table app.t replica identity full',
  `update app.t set v = 'd' where id = 1`,
  'create table app.p (id int primary key) partition by range (id)',
  'create table app.p1 partition of app.p for values from (1) to (10)',
  'drop table app.a, app.p',
  'drop table app.nothing',
];

const under = (...settings: string[]) => ({
  given,
  filters: { t: 'new.n > 1' },
  events: ['I'],
  steps: [...settings.map((setting) => `set ${setting}`), ...life],
});

export const settings: Cases = {
  'with an empty search path': under(`search_path = ''`),
  'with a search path that is somebody else’s': {
    given: `${given};
      create schema evil;
      create function evil.now() returns timestamptz language sql as $$ select null::timestamptz $$;
      create function evil.format(text, text) returns text language sql as $$ select 'evil' $$;
      create function evil.to_jsonb(text) returns jsonb language sql as $$ select '"evil"'::jsonb $$;
      create function evil.unnest(text[]) returns setof text language sql as $$ select 'evil' $$;
      create function evil.differs(text, text) returns boolean language sql as $$ select true $$;
      create operator evil.= (leftarg = text, rightarg = text, function = evil.differs);
      create table evil.pg_class (oid oid);
      create table evil.pg_namespace (oid oid)`,
    filters: { t: 'new.n > 1' },
    events: ['I'],
    steps: [`set search_path = evil, pg_catalog, app`, ...life],
  },
  'with temporary objects named like those of the catalogs': {
    given,
    filters: { t: 'new.n > 1' },
    events: ['I'],
    steps: [
      'create temp table pg_class (oid oid, relname name)',
      'create temp table pg_publication_rel (oid oid)',
      'create temp table webhook_subscriptions (id int)',
      'set search_path = pg_temp, pg_catalog, app',
      ...life,
    ],
  },
  'with strings of old': under(
    'standard_conforming_strings = off',
    'escape_string_warning = on',
    'backslash_quote = off',
    'client_min_messages = notice',
  ),
  'with everything quoted': under('quote_all_identifiers = on', 'array_nulls = off'),
  'with comparisons of old': under('transform_null_equals = on', `xmloption = document`),
  'with other ways to write': under(
    `datestyle = 'german, dmy'`,
    `intervalstyle = sql_standard`,
    `timezone = 'Asia/Kathmandu'`,
    `bytea_output = escape`,
    'extra_float_digits = -15',
  ),
  'with messages in another measure': under('client_min_messages = log'),
  'with few messages': under('client_min_messages = error'),
  'with limits of time': under(`statement_timeout = '20s'`, `lock_timeout = '10s'`),
  'with the compiler always on': under('jit = on', 'jit_above_cost = 0'),
  'with a planner that has lost its tools': under(
    'enable_seqscan = off',
    'enable_indexscan = off',
    'enable_hashjoin = off',
    'enable_nestloop = off',
    'join_collapse_limit = 1',
    'plan_cache_mode = force_generic_plan',
    `work_mem = '64kB'`,
  ),
  'with workers for everything': under(
    'parallel_setup_cost = 0',
    'parallel_tuple_cost = 0',
    'min_parallel_table_scan_size = 0',
    'max_parallel_workers_per_gather = 2',
  ),
  'with functions that are not checked': under('check_function_bodies = off'),
  'with a language that takes columns first': under(`plpgsql.variable_conflict = use_column`),
  'with a language that takes variables first': under(`plpgsql.variable_conflict = use_variable`),
  'with a language that is strict': under(
    `plpgsql.extra_errors = 'all'`,
    `plpgsql.extra_warnings = 'all'`,
  ),
  'with row security off': under('row_security = off'),
  'with sessions that end at any error': {
    given,
    filters: { t: 'new.n > 1' },
    events: ['I'],
    steps: ['set exit_on_error = on', ...life.slice(0, -1)],
  },
  'as a serializable session': under(`default_transaction_isolation = serializable`),
  'as a repeatable session': under(`default_transaction_isolation = 'repeatable read'`),
  'as a deferrable session': under(
    `default_transaction_isolation = serializable`,
    'default_transaction_deferrable = on',
  ),
  'without waiting for the disk': under('synchronous_commit = off', 'commit_delay = 10'),
  'in another encoding': under(`client_encoding = 'LATIN1'`),
  'with settings of ours that are none': {
    given,
    filters: { t: 'new.n > 1' },
    events: ['I'],
    steps: [
      `set pgstream.dropped = ''`,
      `set pgstream.gave_up = 'off'`,
      `set pgstream.recheck = ''`,
      ...life,
    ],
  },
  'settings of the role and of the database': {
    given,
    steps: [
      `alter role guest_owner set search_path = ''`,
      `alter role guest_owner in database {database} set statement_timeout = '20s'`,
      'grant all on schema app to guest_owner',
      { by: 'guest_owner', sql: 'show search_path' },
      { by: 'guest_owner', sql: 'create table app.mine (id int primary key)' },
      { by: 'guest_owner', sql: 'alter table app.mine drop constraint mine_pkey' },
      { by: 'guest_owner', sql: 'insert into app.mine values (1)' },
      { by: 'guest_owner', sql: 'update app.mine set id = 2' },
      'alter role guest_owner reset all',
      'alter role guest_owner in database {database} reset all',
    ],
  },
};
