import { expect, test } from 'vitest';
import { RightsReader } from '../../src/source/rights.js';
import { createRoles } from '../helpers/roles.js';

/** A reader that was asked what a role may read of a table, and how often the catalogs were searched. */
async function setUp() {
  const { database, roles } = await createRoles({ owner: '', group: '', other: '' });
  const { sql } = database;
  const { owner, group, other } = roles;
  await sql.unsafe(`
    create schema app; grant usage on schema app to ${owner.name};
    create table app.item (id integer primary key, card text);
    grant select on app.item to ${owner.name};
    grant select (id) on app.item to ${group.name}`);
  const [table] = await sql`select 'app.item'::regclass::oid::bigint::float8 as oid`;
  const relation = table!['oid'] as number;
  let searches = 0;
  const counting = new Proxy(sql, {
    apply(target, self, args: Parameters<typeof sql>) {
      if (String(args[0]).includes('_restrictions')) searches++;
      return Reflect.apply(target, self, args) as unknown;
    },
  });
  const reader = new RightsReader({
    sql: counting,
    keepTrying: (work) => work(),
    onWanted: () => undefined,
  });
  await reader.learn([[owner.name, [relation]]]);
  await reader.refresh();
  const right = () => reader.rights.of(owner.name, relation);
  return { sql, reader, right, relation, searches: () => searches, names: [owner, group, other] };
}

test('the catalogs are searched again when rights may have changed, and only then', async () => {
  const { sql, reader, right, relation, searches, names } = await setUp();
  const [owner, group, other] = names.map(({ name }) => name);
  expect(right()).toEqual({ kind: 'all' });
  const before = searches();
  await sql.unsafe(`
    insert into app.item values (1); analyze app.item; create temp table t ();
    create index on app.item (card)`);
  await reader.refresh();
  await reader.refresh();
  expect(searches()).toBe(before);

  const steps: [string, unknown][] = [
    [`revoke select on app.item from ${owner}`, { kind: 'denied', problem: 'table' }],
    [`grant ${group} to ${owner}`, { kind: 'some', columns: ['id'] }],
    [`grant select (card) on app.item to ${owner}`, { kind: 'some', columns: ['id', 'card'] }],
    ['alter table app.item rename card to kind', { kind: 'some', columns: ['id', 'kind'] }],
    ['alter table app.item drop column kind', { kind: 'some', columns: ['id'] }],
    [`grant select on app.item to ${owner}`, { kind: 'all' }],
    ['alter table app.item enable row level security', { kind: 'denied', problem: 'row security' }],
    [`alter role ${owner} bypassrls`, { kind: 'all' }],
    [`alter role ${owner} nobypassrls`, { kind: 'denied', problem: 'row security' }],
    [`select pgstream.allow_rls('app.item', '${owner}')`, { kind: 'all' }],
    [`select pgstream.allow_rls('app.item', '${owner}', false)`, { problem: 'row security' }],
    [`alter table app.item owner to ${owner}`, { kind: 'all' }],
    [`alter table app.item owner to ${other}`, { problem: 'row security' }],
    [`grant ${other} to ${group}`, { kind: 'all' }],
    [
      `alter role ${owner} noinherit; revoke ${group} from ${owner}; grant ${group} to ${owner}`,
      {},
    ],
    [`revoke usage on schema app from ${owner}`, { kind: 'denied' }],
    [`alter role ${owner} superuser`, { kind: 'all' }],
    [`alter role ${owner} nosuperuser`, { kind: 'denied' }],
  ];
  for (const [step, expected] of steps) {
    await sql.unsafe(step);
    await reader.refresh();
    expect({ step, right: right() }).toMatchObject({ step, right: expected });
  }
  // What is asked for the first time is asked, whatever has changed.
  expect(reader.rights.of(group!, relation)).toBeUndefined();
  await reader.learn([[group!, [relation]]]);
  expect(reader.rights.of(group!, relation)).toBeDefined();
});
