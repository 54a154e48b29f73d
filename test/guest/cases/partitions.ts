import type { Cases } from '../case.js';

/** Tables in parts. */
export const partitions: Cases = {
  'by range, list and hash': [
    'create table r (id int, at date, v text, primary key (id, at)) partition by range (at)',
    `create table r1 partition of r for values from ('2024-01-01') to ('2025-01-01')`,
    `create table r2 partition of r for values from ('2024-06-01') to ('2026-01-01')`,
    'create table r0 partition of r default',
    `insert into r values (1, '2024-05-01', 'a'), (2, '2026-05-01', 'b')`,
    'select tableoid::regclass, id from r',
    `update r set at = '2024-07-01' where id = 2 returning tableoid::regclass`,
    `create table r3 partition of r for values from ('2025-01-01') to ('2027-01-01')`,
    'drop table r0',
    `insert into r values (1, '2030-01-01', 'x')`,
    'create table l (id int primary key) partition by list (id)',
    'create table l1 partition of l for values in (1, null)',
    'create table h (id int primary key) partition by hash (id)',
    'create table h0 partition of h for values with (modulus 1, remainder 0)',
    'insert into h values (1), (2)',
    'update h set id = id + 10',
    'delete from h',
    'drop table r, l, h',
  ],
  'parts that come and go': {
    given: `create table p (id int primary key, v text) partition by range (id);
      create table p1 partition of p for values from (1) to (10);
      insert into p values (1, 'a')`,
    filters: { p: 'new.id > 1' },
    steps: [
      'create table p2 (id int primary key, v text)',
      `insert into p2 values (11, 'b')`,
      'alter table p attach partition p2 for values from (10) to (20)',
      `update p set v = 'c' returning id`,
      'alter table p detach partition p1',
      `update p1 set v = 'd'`,
      `update p set v = 'e'`,
      'alter table p attach partition p1 for values from (1) to (5)',
      'create table p3 (id int)',
      'alter table p attach partition p3 for values from (20) to (30)',
      'alter table p2 add column w int',
      'alter table p add column w int default 1',
      'alter table p1 rename to q1',
      'alter table p drop column w',
      'delete from p',
      'drop table q1',
      'alter table p detach partition p3',
    ],
  },
  'a part that leaves without holding up anybody': {
    given: `create table p (id int primary key, v text) partition by range (id);
      create table p1 partition of p for values from (1) to (10);
      create table p2 partition of p for values from (10) to (20);
      insert into p values (1, 'a'), (11, 'b')`,
    steps: [
      'alter table p detach partition p1 concurrently',
      `update p1 set v = 'c'`,
      `update p set v = 'c'`,
      'begin',
      'alter table p detach partition p2 concurrently',
      'rollback',
      'alter table p detach partition p2 finalize',
      'insert into p values (1)',
    ],
  },
  'parts of parts': [
    'create table p (id int, k int, v text, primary key (id, k)) partition by list (id)',
    'create table p1 partition of p for values in (1) partition by range (k)',
    'create table p11 partition of p1 for values from (1) to (10)',
    `insert into p values (1, 1, 'a')`,
    `update p set v = 'b'`,
    'create schema other',
    'alter table p11 set schema other',
    `update p set v = 'c' returning tableoid::regclass`,
    'alter table p detach partition p1',
    `update p1 set v = 'd'`,
    'alter table p attach partition p1 for values in (1)',
    'truncate p',
    'drop table p1 cascade',
  ],
  'keys and indexes of parts': {
    given: `create table p (id int not null, v text) partition by range (id);
      create table p1 partition of p for values from (1) to (10);
      create table p2 partition of p for values from (10) to (20);
      insert into p values (1, 'a'), (11, 'b')`,
    steps: [
      'create index on p (v)',
      `update p set v = 'c'`,
      'alter table p add primary key (id)',
      `update p set v = 'd'`,
      'create unique index unfit on p (v)',
      'create index only_p on only p (id)',
      'create index on_p1 on p1 (id)',
      'alter index only_p attach partition on_p1',
      'drop index on_p1',
      'alter table p1 drop constraint p1_pkey',
      'alter table p drop constraint p_pkey',
      `update p set v = 'e'`,
      'alter table p1 add primary key (id)',
      `update p set v = 'f'`,
      `update p2 set v = 'g'`,
      'delete from p2',
      'create table f (id int)',
      'alter table p add unique (id)',
      'alter table f add foreign key (id) references p (id)',
      'insert into f values (2)',
      'delete from p where id = 1',
    ],
  },
  'identities of parts': {
    given: `create table p (id int primary key, v text) partition by range (id);
      create table p1 partition of p for values from (1) to (10);
      create table p2 partition of p for values from (10) to (20);
      insert into p values (1, 'a'), (11, 'b')`,
    filters: { p: 'new.id > 1' },
    steps: [
      'alter table p1 replica identity nothing',
      `update p set v = 'c'`,
      `update p1 set v = 'd'`,
      'delete from p1',
      'alter table p1 replica identity full',
      `update p set v = 'e'`,
      'alter table p replica identity nothing',
      `update p set v = 'f'`,
      'create table p3 (id int primary key, v text)',
      'alter table p3 replica identity nothing',
      `insert into p3 values (21, 'c')`,
      'alter table p attach partition p3 for values from (20) to (30)',
      `update p set v = 'g'`,
      `update p3 set v = 'h'`,
      'delete from p',
    ],
  },
  'rows that move from part to part': {
    given: `create table p (id int, v text) partition by range (id);
      create table p1 partition of p for values from (1) to (10);
      create table p2 partition of p for values from (10) to (20)`,
    filters: { p: 'new.id > 1' },
    steps: [
      { copy: 'copy p from stdin', rows: '1\ta\n11\tb\n' },
      'update p set id = id + 10 where id = 1',
      'update p set id = id + 100',
      `insert into p2 values (1, 'x')`,
      'select tableoid::regclass, * from p',
      'delete from p',
    ],
  },
};
