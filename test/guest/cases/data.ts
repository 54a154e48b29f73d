import type { Cases } from '../case.js';

const t = `create table t (id int primary key, v text, n int);
  insert into t values (1, 'a', 10), (2, 'b', 20)`;

/** Rows as they are written and read. */
export const data: Cases = {
  'rows of a table without a key': {
    given: `create table t (v text, n int); insert into t values ('a', 1), ('a', 1)`,
    filters: { t: 'new.n > 0' },
    steps: [
      `update t set n = 2 where ctid = '(0,1)'`,
      'select * from t',
      'delete from t where n = 2',
      `insert into t values ('b', 3) returning *`,
      'update t set n = n',
      'truncate t',
    ],
  },
  upserts: {
    given: t,
    filters: { t: 'new.n > 1' },
    steps: [
      `insert into t values (1, 'c', 1) on conflict (id) do update set v = excluded.v returning *`,
      `insert into t values (1, 'd', 1) on conflict do nothing`,
      `insert into t values (1, 'd', 1) on conflict (v) do nothing`,
      `insert into t values (3, 'd', 1), (3, 'e', 1) on conflict (id) do update set v = 'f'`,
      `insert into t values (3, 'd', 1) on conflict on constraint t_pkey do update
         set n = t.n + excluded.n where t.n > 5`,
    ],
  },
  merges: {
    from: 15,
    given: `${t}; create table news (id int, n int); insert into news values (1, 1), (3, 3)`,
    filters: { t: 'new.n > 1' },
    steps: [
      `merge into t using news on t.id = news.id
         when matched then update set n = news.n
         when not matched then insert values (news.id, 'new', news.n)`,
      'select * from t order by id',
      'merge into t using news on t.id = news.id when matched then delete',
      'insert into news values (2, 1), (2, 2)',
      'merge into t using news on t.id = news.id when matched then update set n = news.n',
    ],
  },
  'rows in and out of files': {
    given: t,
    filters: { t: 'new.n > 1' },
    steps: [
      { copy: 'copy t from stdin', rows: '3\tc\t30\n4\t\\N\t40\n' },
      { copy: 'copy t (id, v) from stdin (format csv, header)', rows: 'id,v\n5,"x,y"\n' },
      { copy: 'copy t from stdin', rows: '6\tc\tnone\n' },
      { copy: 'copy t from stdin', rows: '1\tc\t30\n' },
      'copy (select * from t order by id) to stdout (format csv)',
      'copy t to stdout',
      'copy nothing to stdout',
    ],
  },
  'statements that write more than one table': {
    given: `${t}; create table log (id int, v text)`,
    steps: [
      `with gone as (delete from t where id = 1 returning *)
       insert into log select id, v from gone returning *`,
      `with a as (insert into t values (5, 'z', 1) returning id), b as (update t set n = 0)
       select * from a`,
      'truncate t, log',
      'truncate nothing',
      'insert into t select g, g::text, g from generate_series(1, 500) g',
      'update t set n = n + 1 where id % 2 = 0',
      'select count(*), sum(n) from t',
      `update t set v = u.v from t u where u.id = t.id - 1 and t.id < 4 returning t.id, t.v`,
      'delete from t using log where log.id = t.id',
    ],
  },
  'truncated with all that refers to it': {
    given: `${t}; create table f (t int references t); insert into f values (1);
      create table parted (id int) partition by list (id);
      create table part partition of parted default; insert into parted values (1)`,
    steps: [
      'truncate t',
      'truncate t cascade',
      'truncate only parted',
      'truncate parted restart identity',
      'select count(*) from f',
    ],
  },
  'statements that are prepared': {
    given: t,
    filters: { t: 'new.n > 1' },
    steps: [
      'prepare by_id (int) as select * from t where id = $1',
      'execute by_id (1)',
      'alter table t add column w int',
      'execute by_id (1)',
      'deallocate by_id',
      'prepare change (text) as update t set v = $1 where id = 1 returning v',
      `execute change ('c')`,
      'alter table t drop column w',
      `execute change ('d')`,
      'alter table t drop constraint t_pkey',
      `execute change ('e')`,
      'deallocate all',
      { sql: 'select $1::int + 1 as more', values: [41] },
      { sql: 'insert into t values ($1, $2) returning *', values: [7, 'g'] },
      { sql: 'insert into t values ($1, $2) returning *', values: ['x', 'g'] },
      { sql: 'create table of_extended (id int)', values: [] },
    ],
  },
  cursors: {
    given: t,
    steps: [
      'begin',
      'declare c scroll cursor for select * from t order by id',
      'fetch 1 from c',
      'create table made (id int)',
      'fetch next from c',
      'fetch prior from c',
      'declare u cursor for select * from t order by id for update',
      'fetch 1 from u',
      `update t set v = 'c' where current of u`,
      'alter table t add column w int',
      'close u',
      'alter table t add column w int',
      'rollback',
      'begin',
      'declare h cursor with hold for select * from t order by id',
      'create table made (id int)',
      'commit',
      'fetch all from h',
      'close all',
    ],
  },
  'large objects': [
    'select lo_create(4711)',
    `select lo_put(4711, 0, '\\x0102')`,
    'select lo_get(4711)',
    `comment on large object 4711 is 'note'`,
    'grant select on large object 4711 to guest_stranger',
    'select lo_unlink(4711)',
    'select lo_unlink(4711)',
  ],
  'what goes wrong with rows': {
    given: `${t}; create table f (t int references t); create unique index by_v on t (v);
      alter table t add check (n < 100)`,
    filters: { t: 'new.n > 1' },
    steps: [
      `insert into t values (1, 'c', 1)`,
      `insert into t values (3, 'a', 1)`,
      `insert into t values (3, 'c', 100)`,
      'insert into t values (null)',
      'insert into f values (9)',
      'insert into t (id, nothing) values (3, 1)',
      'select nothing from t',
      'select 1 / 0 from t',
      'selec 1',
      'select * from t where',
      `select 'x'::int`,
      `update t set n = 'x'`,
      'insert into t values (1, 2, 3, 4)',
      'delete from nothing',
      'select nothing()',
      `update t set id = 2 where id = 1`,
      'select (select id from t)',
      'update t set n = 1 / 0 where id = 1',
    ],
  },
  'values of every kind': [
    `create table t (id uuid primary key, b bytea, j jsonb, a int[], r int4range, m money,
       i interval, x xml, p point, c char(5), bits bit varying, ip inet, ts tsvector, big numeric)`,
    `insert into t values ('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '\\x00ff', '{"a": [1]}',
       '{1,null}', '[1,5)', 1.5, '1 day 2 hours', '<a/>', '(1,2)', 'ab', b'101', '10.0.0.1/8',
       'a fat cat', 'NaN')`,
    'select * from t',
    `update t set j = j || '{"b": null}', a = a || 3, r = r * '[2,9]' returning j, a, r`,
    `update t set b = decode(repeat('ab', 5000), 'hex')`,
    `update t set c = 'xyz' returning length(b), c`,
    'delete from t',
  ],
  'waits that others are spared': {
    given: t,
    steps: [
      'begin',
      'lock table t in share row exclusive mode',
      'select * from t where id = 1 for update',
      'select * from t for no key update skip locked',
      'select * from t for share nowait',
      'lock table t in access exclusive mode nowait',
      'lock table nothing',
      'rollback',
      'lock table t',
    ],
  },
};
