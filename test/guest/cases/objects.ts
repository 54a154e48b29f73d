import type { Cases } from '../case.js';

const t = `create table t (id int primary key, v text, n int);
  insert into t values (1, 'a', 10), (2, 'b', 20)`;

/** What a database has beside tables. */
export const objects: Cases = {
  enums: [
    `create type mood as enum ('sad', 'ok')`,
    `create table t (id int primary key, m mood default 'ok', ms mood[])`,
    `alter type mood add value 'happy' after 'ok'`,
    `alter type mood add value if not exists 'happy'`,
    `alter type mood add value 'ok'`,
    `insert into t values (1, 'happy', '{sad,happy}') returning *`,
    `alter type mood rename value 'sad' to 'blue'`,
    'select ms from t',
    'alter type mood rename to humor',
    `update t set m = 'blue'`,
    `update t set m = 'sad'`,
    'drop type humor',
    'drop type humor cascade',
    'select * from t',
    'begin',
    `create type e as enum ('a')`,
    `alter type e add value 'b'`,
    `select 'b'::e`,
    'rollback',
  ],
  domains: [
    'create domain positive as int check (value > 0)',
    'create domain named as text not null default $$x$$ constraint short check (length(value) < 5)',
    'create table t (id int primary key, p positive, d named)',
    'insert into t values (1, 0)',
    'insert into t values (1, 1, null)',
    `insert into t values (1, 1, 'abc')`,
    'alter domain positive add constraint even check (value % 2 = 0)',
    'alter domain positive add constraint even check (value % 2 = 0) not valid',
    'update t set p = 3',
    'alter domain positive drop constraint even',
    'alter domain named set default $$y$$',
    'alter domain named rename to called',
    'insert into t values (2) returning *',
    'drop domain positive',
    'drop domain positive cascade',
  ],
  'composite and range types': [
    'create type pair as (x int, y text)',
    'create table t (id int primary key, p pair, ps pair[])',
    `insert into t values (1, (1, 'a'), array[(2, 'b')::pair])`,
    'alter type pair add attribute z int',
    'alter type pair rename attribute y to w',
    'alter type pair alter attribute x type bigint',
    'alter type pair alter attribute x type bigint cascade',
    'select (p).w from t',
    'create type span as range (subtype = float8)',
    `select '[1,2)'::span * '[1.5,3)'::span`,
    'alter table t add column s span',
    'drop type span cascade',
    'create type shell',
    'drop type shell, pair cascade',
  ],
  views: {
    given: t,
    filters: { t: 'new.n > 1' },
    steps: [
      'create view seen as select id, v from t where n > 5 with check option',
      `insert into seen values (3, 'c')`,
      `update seen set v = 'd' where id = 1 returning *`,
      'create or replace view seen as select id, v, n from t where n > 5',
      'create or replace view seen as select id from t',
      'alter table t drop column n',
      'alter view seen rename to saw',
      'alter view saw rename column v to w',
      'alter view saw set (security_barrier = on)',
      'alter table t alter column v type varchar',
      'create recursive view up (n) as values (1) union all select n + 1 from up where n < 3',
      'select * from up',
      'drop table t',
      'drop view saw, up',
    ],
  },
  'views that are kept': {
    given: t,
    steps: [
      'create materialized view kept as select * from t',
      'create unique index one_id on kept (id)',
      'insert into t values (3)',
      'refresh materialized view kept',
      `update t set v = 'z'`,
      'refresh materialized view concurrently kept',
      'select * from kept',
      'insert into kept values (1)',
      'refresh materialized view kept with no data',
      'select * from kept',
      'refresh materialized view concurrently kept',
      'alter materialized view kept rename to keeps',
      'create materialized view if not exists keeps as select 1',
      'drop materialized view keeps',
      'refresh materialized view keeps',
    ],
  },
  rules: {
    given: `${t}; create table log (id int)`,
    steps: [
      'create rule noted as on update to t do also insert into log values (new.id)',
      'update t set n = 1 returning id',
      'select * from log',
      'create or replace rule noted as on update to t do instead nothing',
      'update t set n = 2',
      'alter table t disable rule noted',
      'update t set n = 2',
      'alter rule noted on t rename to heard',
      'drop rule heard on t',
      'drop rule noted on t',
    ],
  },
  triggers: {
    given: `${t}; create table log (what text);
      create function note() returns trigger language plpgsql as
      $$ begin insert into log values (format('%s %s %s', tg_when, tg_op, tg_level));
         return coalesce(new, old); end $$`,
    filters: { t: 'new.n > 1' },
    steps: [
      'create trigger b before insert or update on t for each row execute function note()',
      'create trigger a after update of n on t for each row when (new.n > 5) execute function note()',
      'create trigger s after delete on t referencing old table as gone execute function note()',
      'create trigger x before truncate on t execute function note()',
      'update t set n = 6 where id = 1',
      `insert into t values (3, 'c', 1)`,
      'delete from t where id = 3',
      'truncate t',
      'select * from log',
      'alter trigger b on t rename to c',
      'create or replace trigger c before insert on t for each row execute function note()',
      'create trigger c before insert on t for each row execute function note()',
      'drop function note()',
      'drop function note() cascade',
    ],
  },
  'triggers that make tables': {
    given: `${t}; create function make() returns trigger language plpgsql as
      $$ begin
           execute format('create table made_%s (id int primary key)', new.id);
           execute format('insert into made_%s values (1)', new.id);
           execute format('alter table made_%s drop constraint made_%s_pkey', new.id, new.id);
           execute format('update made_%s set id = 2', new.id);
           return new;
         end $$;
      create trigger make after insert on t for each row execute function make()`,
    steps: [
      `insert into t values (3, 'c', 1), (4, 'd', 2) returning id`,
      'select * from made_3',
      `insert into t values (5, 'c', 1) on conflict do nothing`,
      `insert into t values (3, 'c', 1)`,
      'drop table made_3, made_4',
    ],
  },
  sequences: [
    'create sequence s as smallint increment 2 start 5 cycle',
    `select nextval('s'), nextval('s')`,
    `select setval('s', 11, false)`,
    'alter sequence s maxvalue 12 restart with 9',
    `select nextval('s'), lastval()`,
    'create table t (id int default nextval($$s$$), v text)',
    'insert into t default values returning id',
    'alter sequence s owned by t.id',
    'alter sequence s rename to s2',
    'insert into t default values returning id',
    'drop sequence s2',
    'alter table t drop column id',
    `select nextval('s2')`,
  ],
  routines: [
    `create function f(a int, b int default 2) returns int language sql immutable as 'select a + b'`,
    'select f(1), f(b => 1, a => 1)',
    'create table t (id int primary key, g int generated always as (f(id)) stored, check (f(id) > 0))',
    'insert into t values (1), (-5)',
    `create or replace function f(a int, b int default 2) returns int language sql immutable
       as 'select a * b'`,
    `create or replace function f(a int, c int) returns int language sql as 'select a'`,
    'alter function f rename to g',
    'alter function g(int, int) set search_path = app',
    'alter function g(int, int) owner to guest_owner',
    'insert into t values (3) returning *',
    'drop function g',
    `create procedure p(inout x int) language plpgsql as $$ begin x := x + 1; end $$`,
    'call p(1)',
    `create function broken() returns int language plpgsql as $$ begn end $$`,
    `create function later() returns int language sql as 'select nothing from nowhere'`,
    'drop function g cascade',
  ],
  "event triggers of the user's own": [
    'create table seen (at int generated always as identity, event text, tag text, what text)',
    `create function note() returns event_trigger language plpgsql as $$
     begin
       if tg_event = 'ddl_command_end' then
         insert into app.seen (event, tag, what)
         select tg_event, tg_tag, format('%s %s %s', d.command_tag, d.object_type, d.object_identity)
         from pg_event_trigger_ddl_commands() d;
       elsif tg_event = 'sql_drop' then
         insert into app.seen (event, tag, what)
         select tg_event, tg_tag, format('%s %s %s', d.object_type, d.object_identity, d.original)
         from pg_event_trigger_dropped_objects() d
         where d.object_identity !~ 'pg_toast';
       else
         insert into app.seen (event, tag) values (tg_event, tg_tag);
       end if;
     end $$`,
    'create event trigger note_start on ddl_command_start execute function note()',
    'create event trigger note_end on ddl_command_end execute function note()',
    'create event trigger note_drop on sql_drop execute function note()',
    'create event trigger note_rewrite on table_rewrite execute function note()',
    'create table t (id serial primary key, n int)',
    'alter table t alter column n type bigint',
    'create table u (t int references t)',
    'alter table t drop constraint t_pkey cascade',
    'update t set n = 1',
    'alter table t add primary key (id)',
    'drop table t, u cascade',
    'create schema other create table x (id int primary key)',
    'drop schema other cascade',
    'create temp table mine (id int)',
    'drop table mine',
    // What is published, and by which statement, every event trigger sees.
    `select event, tag, what from seen where tag <> 'ALTER PUBLICATION'
       and coalesce(what !~ 'in publication pgstream_', true) order by at`,
    'drop event trigger note_start',
    'drop event trigger note_end',
    'drop event trigger note_drop',
    'drop event trigger note_rewrite',
    'drop table seen',
  ],
  'event triggers that refuse': [
    `create function refuse() returns event_trigger language plpgsql as
     $$ begin raise exception 'no % today', tg_tag using errcode = 'P0999'; end $$`,
    `create event trigger aaa on ddl_command_end when tag in ('CREATE TABLE')
       execute function refuse()`,
    'create table t (id int)',
    'create view v as select 1',
    'alter event trigger aaa disable',
    'create table t (id int)',
    'alter event trigger aaa rename to zzz',
    'alter event trigger zzz enable always',
    'create table u (id int)',
    'drop event trigger zzz',
    'create table u (id int)',
  ],
};
