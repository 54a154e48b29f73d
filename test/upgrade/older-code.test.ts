/** What an earlier version has defined and this one does not is not there after an upgrade. */
import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect, onTestFinished, test } from 'vitest';
import { catalogue } from '../helpers/catalogue.js';
import { createDatabase, type TestDatabase } from '../helpers/database.js';
import { hasPsql, install, ways } from '../helpers/install.js';
import { createRoles } from '../helpers/roles.js';

const run = promisify(execFile);
const installFile = path.resolve(import.meta.dirname, '../../sql/install.sql');

/** As psql does for people whose psqlrc asks for it: each statement is a subtransaction. */
async function withSavepoints({ url }: TestDatabase): Promise<string> {
  const options = ['-X', '-v', 'ON_ERROR_ROLLBACK=on', url, '-f', installFile];
  return (await run('psql', options)).stderr;
}

const upgrades: [string, (database: TestDatabase) => Promise<string>][] = [
  ...ways.map((way): [string, (typeof install)[typeof way]] => [way, install[way]]),
  ...(hasPsql ? [['psql with savepoints', withSavepoints] as [string, typeof withSavepoints]] : []),
];

/** A database with pgstream and with this SQL on top, until the end of the test. */
async function databaseWith(statements: string): Promise<TestDatabase> {
  const database = await createDatabase();
  onTestFinished(() => database.drop());
  await database.sql.unsafe(`create schema theirs; ${statements}`);
  return database;
}

/** Of an earlier version: each needs others of them, and has its comment, as all that is ours has. */
const older = `
  create function pgstream._older(n integer) returns integer language sql immutable
    begin atomic select n; end;
  create view pgstream.older_status as select pgstream._older(1) as n;
  create function pgstream._reads_older() returns bigint language sql stable
    begin atomic select count(*) from pgstream.older_status; end;
  create procedure pgstream.older_call(inout n integer) language plpgsql as 'begin end';
  create aggregate pgstream.older_sum(integer) (sfunc = int4pl, stype = integer);
  create function pgstream._older_check() returns trigger language plpgsql as
    'begin return new; end';
  create function pgstream._on_older() returns event_trigger language plpgsql as 'begin end';
  create trigger older_check before insert on pgstream.webhook_subscriptions
    for each row execute function pgstream._older_check();
  create trigger older_name before update on pgstream.webhook_subscriptions
    for each row execute function pgstream._check_owner();
  create policy "older policy" on pgstream.webhook_subscriptions
    using (pgstream._older(1) = 1);
  create event trigger pgstream_older on ddl_command_start execute function pgstream._on_older();
  comment on function pgstream._older is 'Older.';
  comment on view pgstream.older_status is 'Older.';
  comment on function pgstream._reads_older is 'Older.';
  comment on procedure pgstream.older_call is 'Older.';
  comment on aggregate pgstream.older_sum(integer) is 'Older.';
  comment on function pgstream._older_check is 'Older.';
  comment on function pgstream._on_older is 'Older.';
  comment on policy "older policy" on pgstream.webhook_subscriptions is 'Older.';`;

/** Of others, in our schema and on our tables. */
const foreign = `
  create function pgstream.theirs() returns integer language sql begin atomic select 1; end;
  create view pgstream.their_status as select * from pgstream.webhook_status;
  create function theirs.audit() returns trigger language plpgsql as 'begin return new; end';
  create trigger their_audit before insert on pgstream.webhook_subscriptions
    for each row execute function theirs.audit();
  create policy "their policy" on pgstream.webhook_subscriptions for select using (true);
  create event trigger theirs on ddl_command_start execute function theirs.seen();
  revoke all on function pgstream.theirs from public;
  revoke all on pgstream.their_status from public;`;
const seen = `create function theirs.seen() returns event_trigger language plpgsql as 'begin end';`;

test.each(upgrades)('%s drops what is older, and nothing else', async (_, upgrade) => {
  const database = await databaseWith('select pgstream.create_publications()');
  const { sql } = database;
  await sql.unsafe(seen + foreign);
  const before = await catalogue(sql);
  await sql.unsafe(older);
  await sql.unsafe(`
    create view theirs.report as select * from pgstream.older_status;
    create table theirs.numbers (n integer default pgstream._older(2))`);

  // what others still use stays, with what that needs, and is named
  const told = await upgrade(database);
  expect(told).toContain(
    'view pgstream.older_status is not part of pgstream any more, and stays: ' +
      'view theirs.report depends on view pgstream.older_status',
  );
  expect(told).toMatch(/default value for column n of table theirs\.numbers depends on function/);
  expect(told).toMatch(/drop view pgstream\.older_status;/);
  expect(await sql`select * from theirs.report`).toEqual([{ n: 1 }]);
  const left = await sql`
    select proname as name from pg_proc
    where pronamespace = 'pgstream'::regnamespace and proname ~ 'older'`;
  expect(left).toEqual([{ name: '_older' }]);

  await sql.unsafe('drop view theirs.report; drop table theirs.numbers');
  expect(await upgrade(database)).not.toMatch(/warning/i);
  expect(await catalogue(sql)).toEqual(before);
  expect(await sql`select evtname as name from pg_event_trigger where evtname = 'theirs'`).toEqual([
    { name: 'theirs' },
  ]);
});

test('what belongs to an extension is left to it', async () => {
  const database = await databaseWith('create extension pg_trgm schema pgstream');
  await database.sql`comment on function pgstream.similarity is 'How alike.'`;
  expect(await install.migrate(database)).toBe('');
  const [row] = await database.sql`select pgstream.similarity('a', 'a') as alike`;
  expect(row).toEqual({ alike: 1 });
});

test('what a role was granted by an earlier version is what this one gives', async () => {
  const { database, roles } = await createRoles({ shop: '', courier: 'replication', ci: '' });
  const { sql } = database;
  const [shop, courier, ci] = [roles.shop.name, roles.courier.name, roles.ci.name];
  await sql.unsafe(`
    select pgstream.create_publications();
    select pgstream.grant_subscriber('${shop}'), pgstream.grant_runner('${courier}');
    grant select on pgstream.schema_log to ${shop};
    grant execute on function pgstream.reconcile to ${ci}`);
  const granted = await catalogue(sql);
  await sql.unsafe(`
    grant execute on function pgstream._sync_publications, pgstream._keep_secret to ${shop};
    grant execute on function pgstream._log_schema to ${ci} with grant option;
    revoke execute on function pgstream._sign from ${shop}`);
  expect(await catalogue(sql)).not.toEqual(granted);
  await install.migrate(database);
  expect(await catalogue(sql)).toEqual(granted);
});
