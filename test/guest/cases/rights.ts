import type { Cases } from '../case.js';

const t = `create table t (id int primary key, v text, n int);
  insert into t values (1, 'a', 10), (2, 'b', 20)`;

/** Who may do what, and by whom it is done. */
export const rights: Cases = {
  'a role without any right on pgstream': {
    given: `${t}; grant all on schema app to guest_owner; alter table t owner to guest_owner`,
    filters: { t: 'new.n > 1' },
    steps: [
      'set session authorization guest_owner',
      'create table a (id int primary key, v text)',
      `insert into a values (1, 'x')`,
      'alter table a drop constraint a_pkey',
      `update a set v = 'y'`,
      'alter table t add column w int',
      'alter table t drop constraint t_pkey',
      `update t set v = 'c' where id = 1`,
      'delete from t',
      'create table p (id int primary key) partition by list (id)',
      'create table p1 partition of p for values in (1)',
      'drop table a',
      'create schema mine',
      'create event trigger e on sql_drop execute function nothing()',
      'create publication pub for table t',
      'reset session authorization',
    ],
  },
  'a role that owns a schema and no more': {
    given: 'create schema mine authorization guest_owner',
    steps: [
      { by: 'guest_owner', sql: 'create table mine.a (id int primary key, v text)' },
      { by: 'guest_owner', sql: `insert into mine.a values (1, 'x') returning *` },
      { by: 'guest_owner', sql: 'create table app.a (id int)' },
      { by: 'guest_owner', sql: 'create index on mine.a (v)' },
      { by: 'guest_owner', sql: 'create type mine.e as enum ($$x$$)' },
      { by: 'guest_owner', sql: 'create view mine.v as select * from mine.a' },
      { by: 'guest_owner', sql: 'select * from mine.v' },
      { by: 'guest_owner', sql: 'alter table mine.a replica identity full' },
      { by: 'guest_owner', sql: `update mine.a set v = 'y'` },
      { by: 'guest_owner', sql: 'truncate mine.a' },
      { by: 'guest_owner', sql: 'alter schema mine rename to yours' },
      { by: 'guest_stranger', sql: 'select * from yours.a' },
      { by: 'guest_stranger', sql: 'drop table yours.a' },
      { by: 'guest_owner', sql: 'begin' },
      { by: 'guest_owner', sql: 'drop table yours.a cascade' },
      { by: 'guest_owner', sql: 'rollback' },
      { by: 'guest_owner', sql: 'drop schema yours cascade' },
    ],
  },
  'what is refused': {
    given: t,
    filters: { t: 'new.n > 1' },
    steps: [
      'set role guest_stranger',
      'select * from app.t',
      'create table app.a (id int)',
      'alter table app.t add column w int',
      'drop table app.t',
      'truncate app.t',
      'create schema other',
      'set role postgres',
      'reset role',
      'grant usage on schema app to guest_stranger',
      'set role guest_stranger',
      'select * from t',
      'alter table t rename to u',
      'comment on table t is $$x$$',
      'create index on t (v)',
      'lock table t',
      'vacuum t',
      'analyze t',
      `copy t to '/nowhere'`,
      'reset role',
    ],
  },
  grants: {
    given: t,
    steps: [
      'grant usage on schema app to guest_stranger',
      'grant select (id, v), update (v) on t to guest_stranger',
      'set role guest_stranger',
      'select id, v from t',
      'select n from t',
      `update t set v = 'c' where id = 1`,
      'update t set n = 1',
      'reset role',
      'grant all on all tables in schema app to guest_stranger with grant option',
      'revoke update on t from guest_stranger',
      'revoke all on t from guest_stranger cascade',
      'grant nothing on t to guest_stranger',
      'grant select on t to nobody',
      'grant create on schema app to public',
    ],
  },
  'default privileges': {
    given: 'grant usage on schema app to guest_stranger',
    steps: [
      'alter default privileges in schema app grant select on tables to guest_stranger',
      'alter default privileges revoke execute on functions from public',
      'create table a (id int primary key)',
      'create function f() returns int language sql as $$ select 1 $$',
      'set role guest_stranger',
      'select * from a',
      'select f()',
      'reset role',
      'alter default privileges in schema app revoke select on tables from guest_stranger',
      'alter default privileges grant execute on functions to public',
    ],
  },
  'row security': {
    given: `${t}; grant usage on schema app to guest_stranger; grant all on t to guest_stranger`,
    steps: [
      'alter table t enable row level security',
      `create policy small on t for all to guest_stranger using (n < 15) with check (n < 30)`,
      'create policy own on t as restrictive using (id > 0)',
      'set role guest_stranger',
      'select * from t',
      'update t set n = 50 where id = 1',
      'update t set n = 14 returning *',
      'set row_security = off',
      'select * from t',
      'reset role',
      'reset row_security',
      'alter policy small on t using (true)',
      'alter policy small on t rename to any_row',
      'drop policy any_row on t',
    ],
  },
  'what somebody leaves behind': {
    given: `${t}; grant all on schema app to guest_owner; create schema mine authorization guest_owner;
      create table mine.a (id int primary key); alter table mine.a owner to guest_owner;
      insert into mine.a values (1); grant select on t to guest_owner`,
    steps: [
      'drop role guest_owner',
      'reassign owned by guest_owner to guest_stranger',
      'update mine.a set id = 2',
      'drop owned by guest_owner',
      'drop owned by guest_stranger',
      'select * from mine.a',
      'drop owned by guest_stranger cascade',
      'create role guest_passing',
      'alter table t owner to guest_passing',
      'drop role guest_passing',
      'drop owned by guest_passing restrict',
      'drop role guest_passing',
      'select * from t',
    ],
  },
  'functions that lend rights': {
    given: `${t}; grant usage on schema app to guest_stranger;
      create function make() returns text language plpgsql security definer set search_path = app as
      $$ begin
           create table if not exists made (id int primary key);
           insert into made values ((select count(*) from made));
           alter table made drop constraint made_pkey;
           update made set id = id;
           alter table made add primary key (id);
           return current_user;
         end $$`,
    steps: [
      'set role guest_stranger',
      'select make()',
      'select make()',
      'select * from made',
      'reset role',
      'select tableowner from pg_tables where tablename = $$made$$',
      'revoke execute on function make() from public',
      'set role guest_stranger',
      'select make()',
      'reset role',
    ],
  },
};
